"""A residual network whose every output sees only the coordinates before its own (MADE)."""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

_WORTH_A_PIECE = 1 << 18
"""Weights of a layer for which computing a further piece apart pays."""


class MaskedLinear(nn.Linear):
    """A linear layer each of whose outputs sees only the first few inputs.

    Outputs are computed in a few pieces, each from the inputs that it may see, since a product with
    the whole masked matrix would spend half of its time on zeros.

    Args:
        reach: `[out]` int64, how many inputs an output sees; never falling.
        inputs: number of inputs.
    """

    mask: Tensor

    def __init__(self, reach: Tensor, inputs: int) -> None:
        super().__init__(inputs, len(reach))
        mask = torch.arange(inputs) < reach[:, None]
        self.register_buffer("mask", mask.to(self.weight.dtype), persistent=False)
        pieces = min(8, max(1, len(reach) * inputs // _WORTH_A_PIECE))
        self.sizes = [
            len(reach) * (piece + 1) // pieces - len(reach) * piece // pieces
            for piece in range(pieces)
        ]
        self.seen = [int(part[-1]) for part in reach.split(self.sizes)]

    def forward(self, x: Tensor) -> Tensor:
        """`[..., in]` to `[..., out]`."""
        # Split before anything is left out, so that the gradient of each piece is not as large as
        # the whole weight.
        parts = zip(
            (self.weight * self.mask).split(self.sizes),
            self.bias.split(self.sizes),
            self.seen,
            strict=True,
        )
        made = [functional.linear(x[..., :n], weight[:, :n], bias) for weight, bias, n in parts]
        return torch.cat(made, -1)

    def rows(self, x: Tensor, first: int, last: int, seen: int) -> Tensor:
        """Outputs `first` to `last` alone, which see none but the first `seen` inputs."""
        weight = self.weight[first:last, :seen] * self.mask[first:last, :seen]
        return functional.linear(x[..., :seen], weight, self.bias[first:last])


class MaskedResidual(nn.Module):
    """`out` numbers for each coordinate, given the coordinates before it and a context.

    Hidden units are sorted by how many coordinates they see. So a sequence can be grown coordinate
    by coordinate with each unit computed once (`growing`): drawing costs no more arithmetic than
    one evaluation, though in as many small steps as there are coordinates.

    Args:
        size: coordinates.
        out: outputs of each.
        context: width of contexts.
        width: hidden units.
        blocks: residual blocks, of two layers each.
        dropout: of hidden units.

    References:
        Germain et al. 2015, "MADE: Masked Autoencoder for Distribution Estimation".
    """

    def __init__(
        self, size: int, out: int, context: int, *, width: int, blocks: int, dropout: float = 0.0
    ) -> None:
        super().__init__()
        self.size, self.out = size, out
        # A unit of degree d sees coordinates 0..d and is seen by the outputs of those after d.
        degree = torch.arange(width) * max(1, size - 1) // width
        seen_by = torch.searchsorted(degree, torch.arange(size + 1))
        self.bounds = seen_by.tolist()
        inner = seen_by[degree + 1]
        self.embed = MaskedLinear(degree + 1, size)
        self.blocks = nn.ModuleList(_Block(inner, context, dropout) for _ in range(blocks))
        self.last = MaskedLinear(seen_by[:size].repeat_interleave(out), width)
        self.gain = nn.Linear(context, width)
        self.alone = nn.Linear(context, size * out, bias=False)
        self.dropout = nn.Dropout(dropout)
        with torch.no_grad():
            self.gain.weight.zero_()
            self.gain.bias.zero_()
            self.alone.weight.mul_(0.05)
            self.last.weight.mul_(0.05)
            self.last.bias.zero_()

    def forward(self, x: Tensor, context: Tensor) -> Tensor:
        """`[item, size, out]`.

        Args:
            x: `[item, size]`.
            context: `[item, context]`.
        """
        hidden = self.embed(x)
        for block in self.blocks:
            hidden = block(hidden, context)
        hidden = functional.gelu(hidden) * (1 + self.gain(context))
        return (self.last(hidden) + self.alone(context)).unflatten(1, (self.size, self.out))

    def growing(self, context: Tensor) -> Growing:
        """What computes the outputs one coordinate after the other, in evaluation mode."""
        return Growing(self, context)


class Growing:
    """Outputs of a `MaskedResidual` for coordinates that come one by one.

    Args:
        network: in evaluation mode.
        context: `[item, context]`.
    """

    def __init__(self, network: MaskedResidual, context: Tensor) -> None:
        self.network = network
        count, width = len(context), network.embed.out_features
        self.x = context.new_zeros(count, network.size)
        self.blocks = cast("list[_Block]", list(network.blocks))
        self.states = [context.new_zeros(count, width) for _ in range(2 * len(self.blocks) + 1)]
        self.modulations = [block.modulation(context).chunk(2, -1) for block in self.blocks]
        self.gain = 1 + network.gain(context)
        self.alone = network.alone(context).unflatten(1, (network.size, network.out))

    def outputs(self, coordinate: int) -> Tensor:
        """`[item, out]` of a coordinate; those before it have been told by `tell`."""
        at, count = coordinate * self.network.out, self.network.out
        seen = self.network.bounds[coordinate]
        own = self.network.last.rows(self.states[-1], at, at + count, seen)
        return own + self.alone[:, coordinate]

    def tell(self, coordinate: int, value: Tensor) -> None:
        """The value, `[item]`, of a coordinate; computes the units that see it last."""
        self.x[:, coordinate] = value
        network = self.network
        first, last = network.bounds[coordinate], network.bounds[coordinate + 1]
        if first == last:
            return
        part = slice(first, last)
        hidden = network.embed.rows(self.x, first, last, coordinate + 1)
        for number, block in enumerate(self.blocks):
            shift, scale = (m[:, part] for m in self.modulations[number])
            outer, inner = self.states[2 * number], self.states[2 * number + 1]
            outer[:, part] = functional.gelu(hidden)
            middle = block.first.rows(outer, first, last, last)
            inner[:, part] = functional.gelu(torch.addcmul(shift, 1 + scale, middle))
            hidden = hidden + block.second.rows(inner, first, last, last)
        self.states[-1][:, part] = functional.gelu(hidden) * self.gain[:, part]


class _Block(nn.Module):
    def __init__(self, reach: Tensor, context: int, dropout: float) -> None:
        super().__init__()
        self.first = MaskedLinear(reach, len(reach))
        self.second = MaskedLinear(reach, len(reach))
        self.modulation = nn.Linear(context, 2 * len(reach))
        nn.init.zeros_(self.modulation.weight)
        nn.init.zeros_(self.modulation.bias)
        self.dropout = nn.Dropout(dropout)

    def forward(self, hidden: Tensor, context: Tensor) -> Tensor:
        shift, scale = self.modulation(context).chunk(2, -1)
        inner = self.first(self.dropout(functional.gelu(hidden)))
        inner = functional.gelu(torch.addcmul(shift, 1 + scale, inner))
        return hidden + self.second(self.dropout(inner))
