"""Inverted transformer: one token for each variable, attention between them (Liu et al. 2024)."""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from weir.networks.attention import TransformerBlock
from weir.tasks.forecast.representation.heads import Head, LinearForecaster, Marginal


class Normalised(NamedTuple):
    """A window without its mean and scale.

    Attributes:
        window: `[batch, variable, lookback]`, of mean 0 and deviation at most 1.
        mean: `[batch, 1, variable]`.
        scale: `[batch, 1, variable]`, at least the floor.
    """

    window: Tensor
    mean: Tensor
    scale: Tensor


class ITransformer(nn.Module):
    """Inverted transformer that forecasts a law for each value.

    Args:
        variables: number of variables.
        lookback: rows of history.
        horizon: rows of future.
        width: width of a variable's token.
        layers: transformer blocks.
        heads: attention heads; divides `width`. With 0 each variable is forecast from itself
            alone, by one network for all, which is often more robust.
        dropout: dropout of embedded tokens and blocks.
        head: `student_t`, `gaussian`, or `point` for a forecast without spread.
        cycle: period of the data's cycle, in rows, whose phase model and skip are told; or None.
        linear_skip: add a linear forecaster, which `skip.fit` is to set before training; without
            it the transformer corrects the mean of the window.
        floor: least scale of a window, in standard deviations of the training rows.
        reverting: tell the tokens the window's mean and scale, so that the location can revert to
            the levels of the training rows. Without, the transformer's correction of the location
            is the same at all levels, and only the spread depends on them.
    """

    def __init__(
        self,
        variables: int,
        lookback: int,
        horizon: int,
        *,
        width: int = 64,
        layers: int = 2,
        heads: int = 4,
        dropout: float = 0.1,
        head: Head = "student_t",
        cycle: int | None = None,
        linear_skip: bool = True,
        floor: float = 0.1,
        reverting: bool = True,
    ) -> None:
        super().__init__()
        self.horizon = horizon
        self.head: Head = head
        self.floor = floor
        self.skip = LinearForecaster(variables, lookback, horizon, cycle) if linear_skip else None
        self.phase = nn.Embedding(cycle, width) if cycle else None
        if self.phase is not None:
            nn.init.normal_(self.phase.weight, std=0.02)
        self.reverting = reverting
        self.embed = nn.Linear(lookback + (2 if reverting else 0), width)
        self.variable = nn.Parameter(0.02 * torch.randn(variables, width))
        self.dropout = nn.Dropout(dropout)
        self.blocks = nn.ModuleList(
            TransformerBlock(width, heads, dropout, ratio=2.0) for _ in range(layers)
        )
        self.norm = nn.LayerNorm(width)
        self.location = zeroed(nn.Linear(width, horizon))
        if head != "point":
            self.log_scale = zeroed(nn.Linear(width, horizon))
            self.base_log_scale = nn.Parameter(torch.zeros(variables, 1, horizon))
            self.level_log_scale = nn.Parameter(torch.zeros(variables, 2, horizon))
        if head == "student_t":
            self.tail = zeroed(nn.Linear(width, horizon))
            self.base_tail = nn.Parameter(torch.full((variables, 1), 2.0))

    def normalise(self, history: Tensor) -> Normalised:
        """Take mean and floored scale off `history` `[batch, lookback, variable]`."""
        mean = history.mean(1, keepdim=True)
        centred = history - mean
        # Floored: a near-constant window would otherwise be blown up, and its forecast with it.
        scale = (centred.square().mean(1, keepdim=True) + self.floor**2).sqrt()
        return Normalised((centred / scale).mT, mean, scale)

    def encode(self, history: Tensor, start: Tensor) -> Tensor:
        """One token per variable, `[batch, variable, width]`.

        Args:
            history: `[batch, lookback, variable]`, standardised.
            start: `[batch]` int64, row at which the future begins.
        """
        return self._tokens(self.normalise(history), start)

    def forward(self, history: Tensor, start: Tensor) -> Marginal:
        """The law of each value of the future, `[batch, horizon, variable]`.

        With the `point` head the scale is the window's own, a yardstick and no spread.
        """
        return self.describe(history, start)[1]

    def describe(self, history: Tensor, start: Tensor) -> tuple[Tensor, Marginal]:
        """Tokens and law at the price of one pass, for a second stage that needs both."""
        normalised = self.normalise(history)
        tokens = self._tokens(normalised, start)
        loc = self.location(tokens).mT * normalised.scale
        loc = loc + (normalised.mean if self.skip is None else self.skip(history, start))
        if self.head == "point":
            return tokens, Marginal(loc, normalised.scale.expand_as(loc), None)
        scale = self._scale(normalised, tokens)
        if self.head == "gaussian":
            return tokens, Marginal(loc, scale, None)
        # Above 2 the variance is finite, which a second stage that standardises residuals needs.
        df = 2 + F.softplus((self.tail(tokens) + self.base_tail).mT)
        return tokens, Marginal(loc, scale, df)

    def point(self, history: Tensor, start: Tensor) -> Tensor:
        """The deterministic forecast, `[batch, horizon, variable]`."""
        return self(history, start).loc

    def sample(
        self,
        history: Tensor,
        start: Tensor,
        samples: int,
        *,
        steps: int | None = None,
        solver: str | None = None,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """Draws of each value by itself, `[batch, samples, horizon, variable]`.

        The head knows nothing of how values hang together; `steps` and `solver` have no meaning.
        """
        marginal = self(history, start)
        if self.head == "point":
            return marginal.loc[:, None].expand(-1, samples, -1, -1)
        return marginal.draw(samples, generator)

    def nfe(self, steps: int | None = None, solver: str | None = None) -> int:
        """Network calls per sample."""
        return 1

    def _tokens(self, normalised: Normalised, start: Tensor) -> Tensor:
        window = normalised.window
        if self.reverting:
            levels = torch.cat([normalised.mean, normalised.scale.log()], dim=1).mT
            window = torch.cat([window, levels], dim=-1)
        tokens = self.embed(window) + self.variable
        if self.phase is not None:
            tokens = tokens + self.phase(start % self.phase.num_embeddings)[:, None]
        tokens = self.dropout(tokens)
        for block in self.blocks:
            tokens = block(tokens)
        return self.norm(tokens)

    def _scale(self, normalised: Normalised, tokens: Tensor) -> Tensor:
        """`[batch, horizon, variable]`; the window's mean and scale tell of the spread."""
        levels = torch.stack([normalised.mean, normalised.scale.log()], dim=-1).squeeze(1)
        base = self.base_log_scale + levels[:, :, None] @ self.level_log_scale
        return (self.log_scale(tokens) + base.squeeze(2)).mT.exp() * normalised.scale


def zeroed(layer: nn.Linear) -> nn.Linear:
    """`layer` with weights and bias 0, so that training starts from what the layer is added to."""
    nn.init.zeros_(layer.weight)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
    return layer
