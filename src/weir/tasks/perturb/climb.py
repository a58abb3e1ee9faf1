"""Negative-binomial levels and quantiles of a list of entries, by the recurrence of its masses.

`p(k + 1) = p(k) (k + theta) q / (k + 1)` with `q = mean / (mean + theta)`. Most counts of cells are
zero or small, so that a few steps from below, with ever fewer entries left, are far cheaper than
incomplete beta functions. In single precision levels are right to 2e-6, for means up to
`MOST_MEAN`, from which `p(0)` could underflow.
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
