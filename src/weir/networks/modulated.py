"""Residual networks of single vectors, modulated by time and context."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from weir.networks.adaln import ScalarEmbedding, TimedNetwork


class ModulatedMLP(TimedNetwork):
    """Residual two-layer networks with adaLN-zero modulation, beside a linear map; zero at first.

    The modulation's signal is narrow, since it differs from item to item and its maps would
    otherwise cost more than the layers themselves.

    Args:
        event: width of a latent.
        context: width of contexts.
        out: width of the output.
        width: hidden width.
        layers: residual layers.
        signal: width of the vector of time, step and context that modulates.
        dropout: dropout of the layers.
    """

    def __init__(
        self,
        event: int,
        context: int,
        out: int,
        *,
        width: int = 128,
        layers: int = 2,
        signal: int = 64,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.embed = nn.Linear(event, width)
        self.time = ScalarEmbedding(signal)
        self.context = nn.Linear(context, signal)
        self.layers = nn.ModuleList(_Layer(width, signal, dropout) for _ in range(layers))
        self.norm = nn.LayerNorm(width, elementwise_affine=False)
        self.modulation = _zero(nn.Linear(signal, 2 * width))
        self.out = _zero(nn.Linear(width, out))
        self.skip = nn.Linear(event, out, bias=False)
        nn.init.zeros_(self.skip.weight)

    def forward(self, x: Tensor, t: Tensor, context: Tensor, step: Tensor | None = None) -> Tensor:
        """`[condition, draw, out]`.

        Args:
            x: `[condition, draw, event]`.
            t: `[]`, `[condition]` or `[condition, draw]`.
            context: `[condition, context]`.
            step: size of a student's step, of t's shape.
        """
        signal = functional.silu(self.signal(t, step) + self.context(context)[:, None])
        hidden = self.embed(x)
        for layer in self.layers:
            hidden = layer(hidden, signal)
        shift, scale = self.modulation(signal).chunk(2, -1)
        return self.out(torch.addcmul(shift, 1 + scale, self.norm(hidden))) + self.skip(x)


class _Layer(nn.Module):
    def __init__(self, width: int, signal: int, dropout: float) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width, elementwise_affine=False)
        self.mlp = nn.Sequential(
            nn.Linear(width, width), nn.GELU(), nn.Dropout(dropout), nn.Linear(width, width)
        )
        self.modulation = _zero(nn.Linear(signal, 3 * width))

    def forward(self, x: Tensor, signal: Tensor) -> Tensor:
        shift, scale, gate = self.modulation(signal).chunk(3, -1)
        # 1 + gate, not gate: there is no attention that had to learn first, and a layer that
        # starts as the identity learns late.
        return x + (1 + gate) * self.mlp(torch.addcmul(shift, 1 + scale, self.norm(x)))


def _zero(layer: nn.Linear) -> nn.Linear:
    nn.init.zeros_(layer.weight)
    nn.init.zeros_(layer.bias)
    return layer
