"""Velocity network of the residual flow, and the coordinates in which it sees the residual.

As in its backbone, there is one token per variable.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn

from weir.networks.adaln import AdaLNZeroBlock, AdaLNZeroOutput, ScalarEmbedding, TimedNetwork
from weir.tasks.forecast.representation.heads import Marginal

ResidualName = Literal["normal_score", "scaled", "raw", "direct"]


class Residual(NamedTuple):
    """Location, scale and tail of one window's residuals, each `[window, variable, horizon]`.

    `df` is infinite where the law is normal.
    """

    loc: Tensor
    scale: Tensor
    df: Tensor

    def score(self, value: Tensor) -> Tensor:
        """Coordinates of `value`, `[window, variable, horizon]`: normal if the law holds."""
        return _normal_score((value - self.loc) / self.scale, self.df)

    def value(self, score: Tensor) -> Tensor:
        """Inverse of `score`, for `[window, draw, variable, horizon]`."""
        t = _student_score(score, self.df[:, None])
        return self.loc[:, None] + self.scale[:, None] * t


def residual_law(name: ResidualName, marginal: Marginal) -> Residual:
    """What of the backbone's law is taken off the data before the flow sees it.

    * `normal_score`: the whole law; what remains to be modelled is how values hang together,
      and where the law is wrong. A Gaussian source then is a Gaussian copula.
    * `scaled`: location and scale.
    * `raw`: location.
    * `direct`: nothing; the flow has to forecast by itself.

    Args:
        name: one of the above.
        marginal: the backbone's output, fields `[window, horizon, variable]`.
    """
    loc = marginal.loc.mT
    plain, normal = torch.ones_like(loc), torch.full_like(loc, torch.inf)
    if name == "direct":
        return Residual(torch.zeros_like(loc), plain, normal)
    if name == "raw":
        return Residual(loc, plain, normal)
    scale = marginal.scale.mT
    if name == "scaled" or marginal.df is None:
        return Residual(loc, scale, normal)
    if name != "normal_score":
        raise ValueError(f"unknown residual {name!r}; known: normal_score, scaled, raw, direct")
    return Residual(loc, scale, marginal.df.mT)


def _normal_score(t: Tensor, df: Tensor) -> Tensor:
    """Student-t variates as standard normal ones by Wallace's formula, off by about 0.01.

    Invertible in closed form, which the exact law is not, and all that a flow needs: its
    training makes good the rest. Wallace 1959, "Bounds on Normal Approximations to Student's and
    the Chi-Square Distributions".
    """
    s = (t.square() / df).clamp_min(1e-12)
    return t * _stretch(df) * (torch.log1p(s) / s).sqrt()


def _student_score(z: Tensor, df: Tensor) -> Tensor:
    """Inverse of `_normal_score`."""
    z = z / _stretch(df)
    q = (z.square() / df).clamp_min(1e-12)
    return z * (torch.expm1(q) / q).sqrt()


def _stretch(df: Tensor) -> Tensor:
    return 1 - 2 / (8 * df + 3)


class VariateVelocity(TimedNetwork):
    """Transformer over variables; every token is modulated by the time and its own condition.

    The output is zero at initialisation, so that the flow starts as the Gaussian of its source.

    Args:
        horizon: length of an event's last axis.
        condition: width of the backbone's tokens.
        width: width of a token.
        layers: transformer blocks.
        heads: attention heads; divides `width`.
        dropout: dropout of the blocks.
        condition_dropout: dropout of the backbone's tokens, which keeps the flow from learning
            training windows by heart.
        student: add a step-size input, zero at initialisation.
    """

    def __init__(
        self,
        horizon: int,
        condition: int,
        *,
        width: int = 64,
        layers: int = 2,
        heads: int = 4,
        dropout: float = 0.0,
        condition_dropout: float,
        student: bool = False,
    ) -> None:
        super().__init__()
        self.embed = nn.Linear(horizon, width)
        self.time = ScalarEmbedding(width)
        self.token = nn.Sequential(
            nn.LayerNorm(condition), nn.Dropout(condition_dropout), nn.Linear(condition, width)
        )
        self.blocks = nn.ModuleList(
            AdaLNZeroBlock(width, heads, dropout=dropout) for _ in range(layers)
        )
        self.out = AdaLNZeroOutput(width, horizon)
        if student:
            self.add_step()

    def forward(self, x: Tensor, t: Tensor, token: Tensor, step: Tensor | None = None) -> Tensor:
        """Velocity of x's shape.

        Args:
            x: `[condition, draw, variable, horizon]`.
            t: `[]`, `[condition]` or `[condition, draw]`.
            token: `[condition, variable, width of the backbone]`.
            step: size of a student's step, of t's shape.
        """
        condition = self.signal(t, step)[..., None, :] + self.token(token)[:, None]
        x = self.embed(x)
        for block in self.blocks:
            x = block(x, condition)
        return self.out(x, condition)
