"""Transformer blocks whose normalisation is set by a condition: adaLN-zero.

Peebles & Xie 2023, "Scalable Diffusion Models with Transformers". Every block starts as the
identity, because the gates of its two branches are zero at initialisation.
"""

from __future__ import annotations

import math
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from weir.networks.attention import MLP, Attention


class ScalarEmbedding(nn.Module):
    """A scalar in about [0, 1] (a time, a step size) as a vector: sinusoids, then two layers.

    A velocity is smooth in time, so the sinusoids are slow: periods lie between 4 and 0.1.

    Args:
        width: length of the vector.
        frequencies: number of sines and of cosines.
    """

    frequency: Tensor

    def __init__(self, width: int, frequencies: int = 16) -> None:
        super().__init__()
        periods = torch.logspace(math.log10(4.0), -1.0, frequencies)
        self.register_buffer("frequency", 2 * math.pi / periods, persistent=False)
        self.layers = nn.Sequential(
            nn.Linear(2 * frequencies, width), nn.SiLU(), nn.Linear(width, width)
        )

    @property
    def last(self) -> nn.Linear:
        """The layer that gives the vector."""
        return cast(nn.Linear, self.layers[-1])

    def silence(self) -> None:
        """Make the vector zero for every scalar, though still trainable."""
        nn.init.zeros_(self.last.weight)
        nn.init.zeros_(self.last.bias)

    def forward(self, value: Tensor) -> Tensor:
        """`[...]` to `[..., width]`."""
        angle = value[..., None] * self.frequency
        return self.layers(torch.cat([angle.sin(), angle.cos()], -1))


class TimedNetwork(nn.Module):
    """A network whose signal is the time and, of a student, the size of the step as well.

    Subclasses set `time`, where in their own order its weights are to be drawn.
    """

    time: ScalarEmbedding

    def __init__(self) -> None:
        super().__init__()
        self.step: ScalarEmbedding | None = None

    def add_step(self) -> None:
        """Add the step-size input of a student; the output stays the same for any step."""
        last = self.time.last
        self.step = ScalarEmbedding(last.out_features).to(last.weight)
        self.step.silence()

    def signal(self, t: Tensor, step: Tensor | None = None) -> Tensor:
        """Vector of the time and of the step, `[condition, draw, width]`; 1 for what `t` lacks.

        Args:
            t: `[]`, `[condition]` or `[condition, draw]`.
            step: size of a student's step, of t's shape.
        """
        signal = self.time(t)
        if step is not None:
            if self.step is None:
                raise ValueError("this network has no step-size input; build it as a student")
            signal = signal + self.step(step)
        return signal.reshape(*signal.shape[:-1], *(1,) * (3 - signal.ndim), signal.shape[-1])


class AdaLNZeroBlock(nn.Module):
    """Self-attention and a two-layer network over tokens, both gated by the condition.

    Args:
        width: width of a token.
        heads: attention heads; divides `width`.
        ratio: hidden width of the two-layer network, as a multiple of `width`.
        dropout: dropout of both branches.
    """

    def __init__(self, width: int, heads: int, ratio: float = 2.0, dropout: float = 0.0) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width, elementwise_affine=False)
        self.attention = Attention(width, heads)
        self.mlp = MLP(width, ratio)
        self.dropout = nn.Dropout(dropout)
        self.modulation = nn.Linear(width, 6 * width)
        nn.init.zeros_(self.modulation.weight)
        nn.init.zeros_(self.modulation.bias)

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        """Tokens `[..., token, width]` to the same shape.

        Args:
            x: `[..., token, width]`.
            condition: broadcastable to x, so that what draws share is computed once.
        """
        shift1, scale1, gate1, shift2, scale2, gate2 = self.modulation(
            functional.silu(condition)
        ).chunk(6, -1)
        tokens = torch.addcmul(shift1, 1 + scale1, self.norm(x))
        mixed = self.attention(tokens.flatten(0, -3)).reshape(x.shape)
        x = x + gate1 * self.dropout(mixed)
        tokens = torch.addcmul(shift2, 1 + scale2, self.norm(x))
        return x + gate2 * self.dropout(self.mlp(tokens))


class AdaLNZeroOutput(nn.Module):
    """Conditioned normalisation and a linear map that is zero at initialisation."""

    def __init__(self, width: int, out: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width, elementwise_affine=False)
        self.modulation = nn.Linear(width, 2 * width)
        self.out = nn.Linear(width, out)
        for layer in (self.modulation, self.out):
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        """`[..., token, width]` to `[..., token, out]`; `condition` broadcasts to x."""
        shift, scale = self.modulation(functional.silu(condition)).chunk(2, -1)
        return self.out(torch.addcmul(shift, 1 + scale, self.norm(x)))
