"""An autoregressive law of mixtures of Gaussians: the last, most flexible layer of a flow.

As a map it takes each coordinate to the normal quantile of its mixture's distribution function. As
nothing comes after it, its density is that of the mixtures, and neither the quantile nor its
inverse is ever computed: likelihood and score are as cheap and as smooth as those of a Gaussian.

It begins with the mixture that each coordinate follows by itself. Frequent grey levels get
components of their own: uniform in the level's cell, convolved with the Gaussian noise.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.special import log_ndtr

from weir.errors import UserError
from weir.networks.causal import CausalNeighbourhood
from weir.networks.masked import MaskedResidual

_WIDE = 8.0
"""Noise over the half width of a cell beyond which a Gaussian of the same variance takes over: up
to six deviations out their log densities differ by less than .002, and the difference of two
distribution functions would lose its digits."""

_FAR = 1000.0
"""Deviations beyond a cell's edge from which on a log density falls no further: such a cell weighs
nothing, and single precision would not hold its slope."""


def log_cell(x: Tensor, half: Tensor, scale: Tensor) -> Tensor:
    """Log density at `x` of `half * U + scale * N`, `U` uniform in [-1, 1], `N` standard normal.

    Twice differentiable, and even in `x`. All three broadcast.

    Args:
        x: offset from the middle of the cell.
        half: half of its width, above 0.
        scale: of the noise, above 0.
    """
    wide = -0.5 * (x.square() / (variance := scale.square() + half.square() / 3) + variance.log())
    wide = wide - 0.5 * math.log(2 * math.pi)
    narrow = torch.minimum(scale, _WIDE * half)
    # On the left of the cell, where a distribution function is small, differences are exact.
    off = torch.minimum(x.abs(), half + _FAR * narrow)
    upper, lower = log_ndtr((half - off) / narrow), log_ndtr((-half - off) / narrow)
    exact = upper + torch.log1p(-(lower - upper).exp()) - (2 * half).log()
    return torch.where(scale < _WIDE * half, exact, wide)


class Cells(NamedTuple):
    """Grey levels that have a component of their own, in the unit of the coordinates.

    Attributes:
        middle: `[level]`, of their cells.
        half: `[]`, half of a cell's width.
    """

    middle: Tensor
    half: Tensor

    def holding(self, z: Tensor) -> Tensor:
        """Which cell each value lies in, `[..., level]` bool."""
        return (z[..., None] - self.middle).abs() <= self.half


def frequent_levels(raw: Tensor, count: int) -> Tensor:
    """The `count` most frequent levels of items' pixels, ascending; fewer if there are fewer."""
    level, times = raw.flatten().unique(return_counts=True)
    return level[times.argsort(descending=True, stable=True)[:count]].sort().values


def marginal_mixtures(
    z: Tensor,
    components: int,
    *,
    counted: Tensor | None = None,
    steps: int = 30,
    floor: float = 1e-3,
    wide: float = 0.02,
) -> tuple[Tensor, Tensor, Tensor]:
    """A mixture of Gaussians fitted to each coordinate alone by EM.

    The last component is as wide as all coordinates together and keeps a share of its own, for
    values that a coordinate has never shown.

    Args:
        z: `[item, coordinate]`, more items than components.
        components: of each mixture, two at least; they begin at quantiles.
        counted: `[item, coordinate]` bool, values to be described; None for all. Where a
            coordinate has none, its components begin as those of all coordinates together.
        steps: of EM.
        floor: least deviation.
        wide: share of the wide component.

    Returns:
        weights, means and log deviations, `[coordinate, component]`.
    """
    narrow = components - 1
    counted = torch.ones_like(z, dtype=torch.bool) if counted is None else counted
    some = z[counted] if bool(counted.any()) else z.flatten()
    rank = (torch.arange(narrow, dtype=z.dtype, device=z.device) + 0.5) / narrow
    pooled = some.sort().values[(rank * len(some)).long()]
    # What is not counted is sorted behind the rest.
    ordered = z.masked_fill(~counted, torch.inf).sort(dim=0).values
    each = counted.sum(0)
    at = (rank * each[:, None]).long()
    mean = torch.where(each[:, None] > 0, ordered.T.gather(1, at), pooled)
    own = counted.to(z.dtype)[..., None]
    scale = (some.std() / narrow).clamp(min=floor).expand_as(mean)
    weight = torch.full_like(mean, 1 / narrow)
    for _ in range(steps):
        off = z[..., None] - mean
        share = own * (weight.log() - scale.log() - 0.5 * (off / scale).square()).softmax(-1)
        mass = share.sum(0)
        seen = mass > 1e-6
        mass = mass.clamp(min=1e-6)
        mean = torch.where(seen, (share * z[..., None]).sum(0) / mass, mean)
        found = ((share * (z[..., None] - mean).square()).sum(0) / mass).sqrt().clamp(min=floor)
        scale = torch.where(seen, found, scale)
        weight = (mass / mass.sum(-1, keepdim=True)).clamp(min=1e-3)
    apart = torch.ones_like(mean[:, :1])
    return (
        torch.cat([weight * (1 - wide), wide * apart], 1),
        torch.cat([mean, z.mean() * apart], 1),
        torch.cat([scale, z.std() * apart], 1).log(),
    )


TOLD = 16
"""Numbers of each coordinate that the network of all tells the one of neighbours; most of a step's
arithmetic goes into them, so there are fewer than a mixture has parameters."""

_BOUND = 9.0
"""Largest absolute log of a component's deviation."""

_EDGE = 0.003
"""Deviation of a cell's edges, of its half width: else a density would jump where there is no
noise."""


class MixtureLaw(nn.Module):
    """`p(z | context) = prod_i sum_k w_ik N(z_i; m_ik, s_ik^2)`, parameters given `z_1 .. z_(i-1)`.

    Of pictures, whose values are grey levels made continuous by uniform noise, the most frequent
    levels may have components of their own, uniform in the level's cell: no Gaussian is like them.

    One network sees all coordinates before the i-th. Of pictures a second one may make the mixtures
    of what the first one tells and of the pixels near by; it is the same everywhere, so that
    strokes and edges need not be learnt again at each place.

    Args:
        shape: of an event.
        context: width of contexts.
        components: of each mixture.
        width: hidden units of the network.
        blocks: its residual blocks.
        dropout: of its hidden units.
        convolved: components are those of the data, to which the noise's variance is added, so
            that no density is narrower than the noise; `start_at` tells where they begin. Else
            they are of what is noisy, and how noise widens them is learnt.
        levels: number of grey levels with a component of their own, for convolved components; which
            they are is told by `start_at`.
        neighbours: pixels to each side that the second network sees, `radius`, and its hidden units
            at each pixel, `width`; None for no such network.

    Raises:
        UserError: events without neighbours are to have some.

    References:
        Papamakarios et al. 2017, "Masked Autoregressive Flow for Density Estimation" (MADE MoG).
    """

    def __init__(
        self,
        shape: tuple[int, ...],
        context: int,
        *,
        components: int = 8,
        width: int = 256,
        blocks: int = 1,
        dropout: float = 0.0,
        convolved: bool = False,
        levels: int = 0,
        neighbours: Mapping[str, int] | None = None,
    ) -> None:
        super().__init__()
        size, self.convolved = math.prod(shape), convolved
        self.components, self.levels = components, levels
        self.each = 3 * components + levels
        self.register_buffer("middle", torch.zeros(levels))
        self.register_buffer("half_width", torch.ones(()))
        out = self.each if neighbours is None else TOLD
        self.network = MaskedResidual(
            size, out, context, width=width, blocks=blocks, dropout=dropout
        )
        self.near: CausalNeighbourhood | None = None
        if neighbours is not None:
            if len(shape) != 3:
                raise UserError(
                    "density.neighbours: needs pictures, whose pixels have neighbours, and these "
                    f"events have shape {list(shape)}; leave it out"
                )
            self.near = CausalNeighbourhood(shape, TOLD, context, self.each, **neighbours)
        with torch.no_grad():
            start = self._start[:, : 3 * components].unflatten(1, (3, components))
            # Components that differ, without which they would stay alike; together about normal.
            start[:, 1] = torch.linspace(-1.2, 1.2, components)
            start[:, 2] = math.log(0.6)

    @torch.no_grad()
    def start_at(self, z: Tensor, cells: Cells | None = None) -> None:
        """Begin with mixtures that each coordinate follows by itself, whatever the context.

        Otherwise training has to narrow the components of every pixel that is nearly always
        background.

        Args:
            z: items `[item, size]` without noise.
            cells: the levels that have components of their own, if there are any.
        """
        shares = z.new_zeros(z.shape[1], 0)
        counted, floor = None, 1e-3
        if self.levels:
            if cells is None:
                raise ValueError("components for grey levels need to be told the levels")
            inside = cells.holding(z)
            counted = ~inside.any(-1)
            floor = 4 * float(cells.half)
            self.middle.copy_(cells.middle)
            self.half_width.copy_(cells.half)
            shares = inside.to(z.dtype).mean(0).clamp(min=1e-4)
        weight, mean, log_scale = marginal_mixtures(
            z, self.components, counted=counted, floor=floor
        )
        weight = weight * (1 - shares.sum(1, keepdim=True)).clamp(min=1e-3)
        raw = _BOUND * torch.atanh((log_scale / _BOUND).clamp(-0.99, 0.99))
        self._start.copy_(torch.cat([weight.log(), mean, raw, shares.log()], 1))

    def log_prob(self, z: Tensor, context: Tensor, gate: Tensor) -> Tensor:
        """Log density `[item]` of `z`, `[item, size]`.

        Args:
            z: `[item, size]`.
            context: `[item, context]`.
            gate: `[item]`, 0 to 1: scales means and log deviations; 0 gives the standard normal.
        """
        raw = self.network(z, context)
        if self.near is not None:
            raw = self.near(z, raw, context)
        gate = gate[:, None, None]
        log_weight, mean, log_scale = self._mixture(raw, gate)
        square = ((z[..., None] - mean) * (-log_scale).exp()).square()
        each = -log_scale - 0.5 * square - 0.5 * math.log(2 * math.pi)
        if self.levels:
            off = z[..., None] - gate * self.middle
            each = torch.cat([each, log_cell(off, gate * self.half_width, self._blur(gate))], -1)
        return torch.logsumexp(log_weight + each, -1).sum(1)

    @torch.no_grad()
    def sample(
        self, context: Tensor, gate: Tensor, generator: torch.Generator | None = None
    ) -> Tensor:
        """One draw `[item, size]` for each item."""
        shape = (len(context), self.network.size)
        rank = torch.rand(shape, generator=generator, device=context.device)
        white = torch.randn(shape, generator=generator, device=context.device)
        if self.levels:
            inside = 2 * torch.rand(shape, generator=generator, device=context.device) - 1
        gate = gate[:, None]
        growing = self.network.growing(context)
        for coordinate in range(self.network.size):
            raw = growing.outputs(coordinate)
            if self.near is not None:
                raw = self.near.at(coordinate, growing.x, raw, context)
            log_weight, mean, log_scale = self._mixture(raw, gate)
            below = log_weight.exp().cumsum(-1)[:, :-1] < rank[:, coordinate, None]
            chosen = below.sum(-1, keepdim=True)
            if self.levels:
                middle = gate * self.middle
                place = middle + gate * self.half_width * inside[:, coordinate, None]
                mean = torch.cat([mean, place], -1)
                blur = self._blur(gate).log().expand_as(middle)
                log_scale = torch.cat([log_scale, blur], -1)
            at, scale = (x.gather(1, chosen)[:, 0] for x in (mean, log_scale.exp()))
            value = at + scale * white[:, coordinate]
            growing.tell(coordinate, value)
        return growing.x

    @property
    def _start(self) -> Tensor:
        """Outputs `[coordinate, each]` where nothing is known, a view of a parameter."""
        last = self.network.last if self.near is None else self.near
        return last.bias.view(-1, self.each)

    def _mixture(self, raw: Tensor, gate: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """What raw outputs `[..., each]` stand for, at `gate` of their leading shape.

        Returns:
            log weights of all components, those of levels last; means and log deviations of the
            Gaussian ones.
        """
        gaussian, level = raw.split([3 * self.components, self.levels], -1)
        weight, mean, scale = gaussian.unflatten(-1, (3, -1)).unbind(-2)
        log_scale = _BOUND * torch.tanh(scale / _BOUND)
        if self.convolved:
            # u = gate z + sqrt(1 - gate^2) n: a component of z becomes one of u.
            log_scale = 0.5 * (_noise(gate) + gate.square() * (2 * log_scale).exp()).log()
        else:
            log_scale = gate * log_scale
        return torch.cat([weight, level], -1).log_softmax(-1), gate * mean, log_scale

    def _blur(self, gate: Tensor) -> Tensor:
        """Deviation of the noise that the levels' cells are convolved with."""
        return (_noise(gate) + (_EDGE * gate * self.half_width).square()).sqrt()


def _noise(gate: Tensor) -> Tensor:
    """Variance of the noise in `u`."""
    return (1 - gate.square()).clamp(min=0)
