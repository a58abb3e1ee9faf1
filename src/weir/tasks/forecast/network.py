"""Velocity network of the residual flow: one token per variable, as in its backbone."""

from __future__ import annotations

from torch import Tensor, nn

from weir.networks.adaln import AdaLNZeroBlock, AdaLNZeroOutput, ScalarEmbedding, TimedNetwork


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
        condition_dropout: float = 0.0,
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
