"""Velocity network of the flow of records: one token a bin."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from weir.networks.adaln import AdaLNZeroBlock, AdaLNZeroOutput, ScalarEmbedding


class BinVelocity(nn.Module):
    """Transformer over bins; the time modulates all tokens, each has its own context added.

    Modulating each token by its context as well would cost nearly as much as the blocks. The
    output is zero at initialisation, so that the flow starts as its Gaussian source.

    Args:
        size: length of an event's last axis.
        context: width of the context's tokens.
        bins: of the grid.
        width: width of a token.
        layers: transformer blocks.
        heads: attention heads; divides `width`.
        dropout: dropout of the blocks.
    """

    def __init__(
        self,
        size: int,
        context: int,
        bins: int,
        *,
        width: int = 96,
        layers: int = 3,
        heads: int = 4,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.embed = nn.Linear(size, width)
        self.place = nn.Parameter(0.02 * torch.randn(bins, width))
        self.time = ScalarEmbedding(width)
        self.token = nn.Linear(context, width)
        self.blocks = nn.ModuleList(
            AdaLNZeroBlock(width, heads, dropout=dropout) for _ in range(layers)
        )
        self.out = AdaLNZeroOutput(width, size)
        self.width = width
        self.step: ScalarEmbedding | None = None

    def add_step(self) -> None:
        """Add the step-size input of a student; the output stays the same for any step."""
        self.step = ScalarEmbedding(self.width).to(self.embed.weight)
        self.step.silence()

    def forward(self, x: Tensor, t: Tensor, token: Tensor, step: Tensor | None = None) -> Tensor:
        """Velocity of x's shape.

        Args:
            x: `[record, draw, bin, size]`.
            t: `[]`, `[record]` or `[record, draw]`.
            token: `[record, bin, context]`.
            step: size of a student's step, of t's shape.
        """
        signal = self.time(t)
        if step is not None:
            if self.step is None:
                raise ValueError("this network has no step-size input; build it as a student")
            signal = signal + self.step(step)
        signal = signal.reshape(*signal.shape[:-1], *(1,) * (3 - signal.ndim), signal.shape[-1])
        condition = signal[..., None, :]
        x = self.embed(x) + (self.place + self.token(token))[:, None]
        for block in self.blocks:
            x = block(x, condition)
        return self.out(x, condition)
