"""Draws of negative-binomial counts.

Sampling a gamma and a Poisson variate for each of thousands of genes would take most of the time
in which cells are generated, although nine in ten of the counts are zero or small. These come
from one uniform each, through the inverse of the distribution function. A count is positive with
a probability of at most its mean, so that the first eight bits of the uniform decide most zeros,
and only the others climb, together, from 1 upwards, by the recurrence of the masses:
`p(k + 1) = p(k) (k + theta) q / (k + 1)` with `q = mean / (mean + theta)`. A few steps from below,
with ever fewer entries left, are far cheaper than incomplete beta functions. In single precision
levels are right to 2e-6, for means up to `MOST_MEAN`, from which `p(0)` could underflow.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

MOST_MEAN = 64.0
"""Means that are climbed to."""
MOST = 64
"""Counts that are climbed to."""
_BLOCK = 1 << 17
"""Entries of the dense part that are worked on at a time, so that they stay in the cache."""


class Entries(NamedTuple):
    """What the recurrence needs of entries, `[entry]` each.

    Attributes:
        none: probability of a zero.
        first: `theta q`.
        odds: q.
    """

    none: Tensor
    first: Tensor
    odds: Tensor

    def take(self, items: Tensor) -> Entries:
        """Some of them."""
        return Entries(*(field.index_select(0, items) for field in self))


def entries(mean: Tensor, theta: Tensor) -> Entries:
    """Of the laws with `mean` and `theta`, `[entry]` each."""
    odds = mean / (mean + theta)
    return Entries(torch.log1p(mean / theta).mul_(-theta).exp_(), theta * odds, odds)


def level(counts: Tensor, inside: Tensor, laws: Entries) -> Tensor:
    """`F(c - 1) + inside p(c)` of counts from 1 to `MOST`, `[entry]`."""
    below = laws.none
    mass = below * laws.first
    found = inside.mul(mass).add_(below)
    first, odds = laws.first, laws.odds
    where = None
    for count in range(1, MOST):
        on = indices(counts > count)
        if not len(on):
            break
        where = on if where is None else where.index_select(0, on)
        below, first, odds, counts, mass, inside = (
            v.index_select(0, on) for v in (below.add(mass), first, odds, counts, mass, inside)
        )
        mass = _next(mass, first, odds, count)
        # Written for all that are left: who goes on writes again.
        found.scatter_(0, where, torch.addcmul(below, inside, mass))
    return found


def quantile(rest: Tensor, laws: Entries, most: int = MOST) -> tuple[Tensor, Tensor]:
    """Least counts whose distribution function reaches a level, at least 1.

    Args:
        rest: `[entry]`, the level less the probability of a zero, positive.
        laws: of the entries, with means up to `MOST_MEAN`.
        most: count at which to stop.

    Returns:
        Counts `[entry]`, and which entries `[n]` have stopped at `most` before their level.
    """
    mass, first, odds = laws
    mass = mass * first
    found = torch.ones_like(rest)
    where = None
    for count in range(1, most):
        rest = rest - mass
        on = rest > 0
        if count > MOST_MEAN:
            # Past the mean a vanishing mass means that the tail is spent but for rounding.
            on &= mass > 1e-9
        on = indices(on)
        where = on if where is None else where.index_select(0, on)
        rest, mass, first, odds = (v.index_select(0, on) for v in (rest, mass, first, odds))
        found.scatter_(0, where, torch.full_like(rest, count + 1))
        if not len(where):
            return found, where
        mass = _next(mass, first, odds, count)
    return found, where.index_select(0, indices(rest > mass))


def _next(mass: Tensor, first: Tensor, odds: Tensor, count: int) -> Tensor:
    return first.add(odds, alpha=count).mul_(1 / (count + 1)).mul_(mass)


def indices(mask: Tensor) -> Tensor:
    """Places of the true values, flat; numpy finds them an order faster than torch on a CPU."""
    if mask.device.type != "cpu":
        return mask.view(-1).nonzero()[:, 0]
    return torch.from_numpy(np.flatnonzero(mask.numpy()))


def take(values: Tensor, where: Tensor) -> Tensor:
    """Entries of a tensor of any shape by their flat places."""
    return values.reshape(-1).index_select(0, where)


def blocks(*dense: Tensor) -> Iterator[tuple[int, tuple[Tensor, ...]]]:
    """Tensors of one shape `[..., gene]` by blocks of rows, and where each block begins, flat."""
    genes = dense[0].shape[-1]
    rows = [v.reshape(-1, genes) for v in dense]
    step = max(1, _BLOCK // max(1, genes))
    for begin in range(0, len(rows[0]), step):
        yield begin * genes, tuple(v[begin : begin + step] for v in rows)


def coarse(like: Tensor, generator: torch.Generator | None) -> Tensor:
    """Uniform multiples of 1 / 256 in [0, 1), as many as `like` has: first eight bits of more.

    Almost all entries are decided by these, at a sixth of the cost.
    """
    size = like.numel()
    bits = torch.empty(-(-size // 8), dtype=torch.int64, device=like.device)
    bits.random_(-(2**63), None, generator=generator)
    return bits.view(torch.uint8)[:size].view(like.shape).to(like.dtype).mul_(1 / 256)


def refined(first: Tensor, generator: torch.Generator | None) -> Tensor:
    """Uniform numbers in (0, 1) from their first eight bits."""
    rest = torch.rand(first.shape, generator=generator, device=first.device, dtype=first.dtype)
    return rest.mul_(1 / 256).add_(first)


_FURTHEST = 1 << 14
"""Count at which a climb ends; tails are spent long before."""


def nb_draw(mean: Tensor, theta: Tensor, generator: torch.Generator | None = None) -> Tensor:
    """Counts of the law with `mean` `[..., gene]` and inverse dispersion `theta` `[gene]`.

    Without gradient, in the shape, type and place of `mean`; every entry is independent.
    """
    mean, theta = mean.detach(), theta.detach()
    found = torch.zeros_like(mean, memory_format=torch.contiguous_format)
    limit = _threshold(theta)
    parts = [_listed(place, rate, theta, limit, generator) for place, (rate,) in blocks(mean)]
    for climbs, draw in ((True, _climbed), (False, _gamma_poisson)):
        lists = [part[0 if climbs else 1] for part in parts]
        if any(len(one[0]) for one in lists):
            where, *rest = (torch.cat(v) for v in zip(*lists, strict=True))
            found.view(-1).scatter_(0, where, draw(*rest, generator))
    return found


def _listed(
    place: int,
    mean: Tensor,
    theta: Tensor,
    limit: Tensor,
    generator: torch.Generator | None,
) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
    """Entries of a block that are positive but small, and others that may be large.

    Place in the whole, mean and theta of each; of the first, also what is left of the level.
    """
    first = coarse(mean, generator)
    # `P(c > 0) <= mean / (1 + curve mean)` for every theta.
    curve = (0.5 + 0.5 / theta).clamp(max=1)
    bound = (mean * curve).mul_(first).add_(first)
    # Large means are listed whatever the bits, which do not decide their counts.
    may = indices(mean > torch.minimum(bound, limit))
    mu, gene = take(mean, may), may % len(theta)
    shape, far = theta.index_select(0, gene), mu > limit.index_select(0, gene)
    none = torch.log1p(mu / shape).mul_(-shape)
    # How far below its top a level lies decides zeros without a loss of digits.
    rest = torch.expm1(none).add_(refined(take(first, may), generator)).neg_()
    on, off = indices((rest > 0) & ~far), indices(far)
    small = (v.index_select(0, on) for v in (may + place, mu, shape, rest))
    return tuple(small), tuple(v.index_select(0, off) for v in (may + place, mu, shape))


def _threshold(theta: Tensor) -> Tensor:
    """Mean `[gene]` at which `m + 4 sqrt(m) + 4 m / sqrt(theta)` is `MOST`."""
    slope = 1 + 4 / theta.sqrt()
    return (((4 + slope * MOST).sqrt() - 2) / slope).square()


def _climbed(
    mean: Tensor, theta: Tensor, rest: Tensor, generator: torch.Generator | None
) -> Tensor:
    """Counts `[entry]`, given how much of their levels is left above that of a zero."""
    return quantile(rest, entries(mean, theta), _FURTHEST)[0]


def _gamma_poisson(mean: Tensor, theta: Tensor, generator: torch.Generator | None) -> Tensor:
    gamma = torch._standard_gamma(theta.contiguous(), generator=generator)
    return torch.poisson(mean * gamma / theta, generator=generator)
