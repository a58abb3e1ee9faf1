"""A small UNet for pictures of any size, modulated by time and context."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from weir.networks.adaln import ScalarEmbedding, TimedNetwork
from weir.networks.attention import Attention


class UNet(TimedNetwork):
    """Residual blocks at halved resolutions with skip connections; zero at first.

    The path down halves each side by a strided convolution, rounding up, and the path up repeats
    pixels and cuts off what rounding added, so that sides need not be powers of two. Every block is
    shifted and scaled by the signal of time, step and context (Ho et al. 2020; Dhariwal & Nichol
    2021, "Diffusion Models Beat GANs"). All operations have deterministic derivatives of first
    order backward and forward.

    Args:
        channels: of the picture, in and out.
        context: width of contexts.
        width: channels at full resolution.
        multiples: channels at each resolution, as multiples of `width`.
        blocks: residual blocks at each resolution, on either path.
        attention: self-attention at the lowest resolution.
        signal: width of the vector that modulates; four times `width` by default.
        dropout: dropout of the blocks.
    """

    def __init__(
        self,
        channels: int,
        context: int,
        *,
        width: int = 32,
        multiples: Sequence[int] = (1, 2, 2),
        blocks: int = 1,
        attention: bool = True,
        signal: int | None = None,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        signal = 4 * width if signal is None else signal
        self.time = ScalarEmbedding(signal)
        self.context = nn.Linear(context, signal)
        self.enter = nn.Conv2d(channels, width, 3, padding=1)
        widths = [width * multiple for multiple in multiples]
        self.down, self.smaller = nn.ModuleList(), nn.ModuleList()
        before = width
        for level, wide in enumerate(widths):
            if level:
                self.smaller.append(nn.Conv2d(before, before, 3, stride=2, padding=1))
            self.down.append(
                nn.ModuleList(
                    _Block(before if i == 0 else wide, wide, signal, dropout) for i in range(blocks)
                )
            )
            before = wide
        self.middle = nn.ModuleList(_Block(before, before, signal, dropout) for _ in range(2))
        self.attention = _PixelAttention(before) if attention else None
        self.up, self.larger = nn.ModuleList(), nn.ModuleList()
        for level, wide in reversed(list(enumerate(widths))):
            if level < len(widths) - 1:
                self.larger.append(nn.Conv2d(before, wide, 3, padding=1))
                before = wide
            self.up.append(
                nn.ModuleList(_Block(before + wide, wide, signal, dropout) for _ in range(blocks))
            )
            before = wide
        self.norm = _norm(width)
        self.out = nn.Conv2d(width, channels, 3, padding=1)
        nn.init.zeros_(self.out.weight)
        if self.out.bias is not None:
            nn.init.zeros_(self.out.bias)

    def forward(self, x: Tensor, t: Tensor, context: Tensor, step: Tensor | None = None) -> Tensor:
        """`[condition, draw, channel, height, width]`.

        Args:
            x: of the same shape.
            t: `[]`, `[condition]` or `[condition, draw]`.
            context: `[condition, context]`.
            step: size of a student's step, of t's shape.
        """
        lead = x.shape[:2]
        signal = self.signal(t, step) + self.context(context)[:, None]
        signal = functional.silu(signal.expand(*lead, -1).flatten(0, 1))
        hidden = self.enter(x.flatten(0, 1))
        skips = []
        for level, blocks in enumerate(_levels(self.down)):
            if level:
                hidden = self.smaller[level - 1](hidden)
            for block in blocks:
                hidden = block(hidden, signal)
                skips.append(hidden)
        hidden = self.middle[0](hidden, signal)
        if self.attention is not None:
            hidden = self.attention(hidden)
        hidden = self.middle[1](hidden, signal)
        for level, blocks in enumerate(_levels(self.up)):
            if level:
                hidden = self.larger[level - 1](enlarge(hidden, skips[-1].shape[-2:]))
            for block in blocks:
                hidden = block(torch.cat([hidden, skips.pop()], 1), signal)
        return self.out(functional.silu(self.norm(hidden))).unflatten(0, lead)


def enlarge(x: Tensor, size: torch.Size | tuple[int, int]) -> Tensor:
    """`x`, `[..., height, width]`, with every pixel doubled both ways, cut off to `size`."""
    height, width = x.shape[-2:]
    doubled = x[..., :, None, :, None].expand(*x.shape[:-2], height, 2, width, 2)
    return doubled.reshape(*x.shape[:-2], 2 * height, 2 * width)[..., : size[0], : size[1]]


def _levels(levels: nn.ModuleList) -> Iterable[nn.ModuleList]:
    return cast("Iterable[nn.ModuleList]", levels)


def _norm(channels: int) -> nn.GroupNorm:
    return nn.GroupNorm(math.gcd(channels, max(1, channels // 8)), channels)


class _Block(nn.Module):
    def __init__(self, before: int, after: int, signal: int, dropout: float) -> None:
        super().__init__()
        self.norm1, self.norm2 = _norm(before), _norm(after)
        self.convolution1 = nn.Conv2d(before, after, 3, padding=1)
        self.convolution2 = nn.Conv2d(after, after, 3, padding=1)
        self.modulation = nn.Linear(signal, 2 * after)
        self.dropout = nn.Dropout(dropout)
        self.skip = nn.Identity() if before == after else nn.Conv2d(before, after, 1)

    def forward(self, x: Tensor, signal: Tensor) -> Tensor:
        shift, scale = self.modulation(signal)[..., None, None].chunk(2, 1)
        hidden = self.convolution1(functional.silu(self.norm1(x)))
        hidden = functional.silu(torch.addcmul(shift, 1 + scale, self.norm2(hidden)))
        return self.skip(x) + self.convolution2(self.dropout(hidden))


class _PixelAttention(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = _norm(channels)
        self.attention = Attention(channels, max(1, math.gcd(channels, channels // 32)))

    def forward(self, x: Tensor) -> Tensor:
        tokens = self.norm(x).flatten(2).mT
        return x + self.attention(tokens).mT.reshape(x.shape)
