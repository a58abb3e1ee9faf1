"""Causal network of pixels: each from those near it and before it, with the same weights."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional


class CausalNeighbourhood(nn.Module):
    """`out` numbers for each coordinate of a picture, given its neighbours before it.

    A masked convolution and a residual layer at each pixel, the same everywhere but for offsets
    of each place. A pixel sees the square around it, of its own channel what precedes it, of the
    channels before its own all. What lies farther off is for others to tell: `features`.

    Args:
        shape: `(channel, height, width)`; coordinates are counted in this order.
        features: numbers that are known of each coordinate by its predecessors, wherever they are.
        context: width of contexts.
        out: outputs of each coordinate; at first its `bias`, which is zero.
        radius: pixels to each side.
        width: hidden units of each coordinate.

    References:
        van den Oord et al. 2016, "Pixel Recurrent Neural Networks" (masked convolutions).
    """

    mask: Tensor

    def __init__(
        self,
        shape: tuple[int, ...],
        features: int,
        context: int,
        out: int,
        *,
        radius: int = 3,
        width: int = 64,
    ) -> None:
        super().__init__()
        self.shape, self.radius, self.width = tuple(shape), radius, width
        channels, side = shape[0], 2 * radius + 1
        self.side = side
        near = _precedes(channels, side)
        self.seen = int(near.any(0).nonzero().max()) + 1
        self.register_buffer("mask", near.to(torch.get_default_dtype()), persistent=False)
        bound = 1 / math.sqrt(channels * side**2 / 2)
        self.weight = nn.Parameter(
            torch.empty(channels, width, channels * side**2).uniform_(-bound, bound)
        )
        self.place = nn.Parameter(torch.zeros(math.prod(shape), width))
        self.further = nn.Linear(features, width)
        self.modulation = nn.Linear(context, 2 * width)
        self.first = nn.Linear(width, width)
        self.second = nn.Linear(width, width)
        self.last = nn.Linear(width, out, bias=False)
        # Flat, as biases are, so that weight decay leaves it alone.
        self.bias = nn.Parameter(torch.zeros(math.prod(shape) * out))
        for empty in (self.modulation.weight, self.modulation.bias, self.last.weight):
            nn.init.zeros_(empty)

    def forward(self, x: Tensor, features: Tensor, context: Tensor) -> Tensor:
        """`[item, coordinate, out]`.

        Args:
            x: `[item, coordinate]`.
            features: `[item, coordinate, features]`.
            context: `[item, context]`.
        """
        # As a product: a convolution of one channel takes three times as long on a CPU.
        square = functional.unfold(x.unflatten(1, self.shape), self.side, padding=self.radius)
        weight = (self.weight * self.mask)[..., : self.seen].flatten(0, 1)
        near = functional.linear(square[:, : self.seen].transpose(1, 2), weight)
        near = near.unflatten(2, (-1, self.width)).transpose(1, 2).flatten(1, 2)
        made = self._answer(near + self.place, features, self.modulation(context)[:, None])
        return made + self.bias.view(made.shape[1:])

    def at(self, coordinate: int, x: Tensor, features: Tensor, context: Tensor) -> Tensor:
        """`[item, out]` of one coordinate alone.

        Args:
            coordinate: which.
            x: `[item, coordinate]`; what does not precede the coordinate is not looked at.
            features: `[item, features]` of that coordinate.
            context: `[item, context]`.
        """
        _, height, width = self.shape
        channel, place = divmod(coordinate, height * width)
        row, column = divmod(place, width)
        above, left = max(0, row - self.radius), max(0, column - self.radius)
        rows = slice(above, row + self.radius + 1)
        columns = slice(left, column + self.radius + 1)
        seen = x.unflatten(1, self.shape)[:, :, rows, columns]
        top, start = above - row + self.radius, left - column + self.radius
        kernel = (self.weight[channel] * self.mask[channel]).unflatten(
            1, (-1, self.side, self.side)
        )
        kernel = kernel[..., top : top + seen.shape[2], start : start + seen.shape[3]]
        near = functional.linear(seen.flatten(1), kernel.flatten(1))
        made = self._answer(near + self.place[coordinate], features, self.modulation(context))
        return made + self.bias.view(-1, made.shape[-1])[coordinate]

    def _answer(self, near: Tensor, features: Tensor, modulation: Tensor) -> Tensor:
        shift, scale = modulation.chunk(2, -1)
        hidden = functional.silu(torch.addcmul(shift, 1 + scale, near + self.further(features)))
        hidden = hidden + self.second(functional.silu(self.first(hidden)))
        return self.last(functional.silu(hidden))


def _precedes(channels: int, side: int) -> Tensor:
    """Which places of a square precede its middle, `[channel, 1, channel seen * side * side]`."""
    order = torch.arange(side * side).reshape(side, side) < side * side // 2
    seen = torch.zeros(channels, channels, side, side, dtype=torch.bool)
    for channel in range(channels):
        seen[channel, :channel] = True
        seen[channel, channel] = order
    return seen.flatten(1)[:, None]
