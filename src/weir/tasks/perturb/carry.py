"""Counts of an edited cell: the cell's own count noise carried over to other means.

A real cell differs from its mean by noise. To ask what *this* cell would have shown, the noise is
abducted as the level u of each count in its negative-binomial law, and the edited count is the
quantile of the same level under the new mean (Pearl 2009, "Causality", section 7.1; the simulator
makes its twins the same way). Equal means give back the very counts.
"""

from __future__ import annotations

import torch
from torch import Tensor

EDGE = 1e-6
"""Levels are kept this far from 0 and 1: what a law calls impossible says nothing of the level."""

ALIKE, EXACT = 50.0, 500.0
"""Where both means are above the first, or anything is above the second, laws are taken to differ
in location and scale alone: their steps no longer matter, and counting them is dear."""


def carry_over(
    counts: Tensor,
    before: Tensor,
    after: Tensor,
    theta: Tensor,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Counts with means `after` at the levels that `counts` have under means `before`.

    If `counts` follow NB(before, theta), the result follows NB(after, theta), and among all such
    results it differs least from them.

    Args:
        counts: `[..., gene]`, whole numbers.
        before: `[..., gene]`, positive means.
        after: `[..., gene]`, positive means.
        theta: `[gene]` inverse dispersions.
        generator: of the level inside a count's step, on the device of the counts.

    Returns:
        `[..., gene]` float32; equal to `counts` where the means are equal.
    """
    inside = torch.rand(counts.shape, generator=generator, device=counts.device)
    # Most counts are zeros that stay zeros: their level is below the new law's share of zeros.
    none, stays = (torch.exp(-theta * torch.log1p(mean / theta)) for mean in (before, after))
    left = (after != before) & ((counts > 0) | (inside * none > stays))
    result = counts.clone()
    theta = theta.expand_as(counts)[left]
    result[left] = _carry(counts[left], before[left], after[left], theta, inside[left])
    return result


def _carry(counts: Tensor, before: Tensor, after: Tensor, theta: Tensor, inside: Tensor) -> Tensor:
    """The same for single entries, `[n]` each, without the short cut."""
    large = torch.minimum(before, after) > ALIKE
    large |= torch.maximum(torch.maximum(counts, before), after) > EXACT
    result = torch.empty_like(counts)
    result[large] = _rescaled(counts[large], before[large], after[large], theta[large])
    rest = ~large
    level = _level(counts[rest], before[rest], theta[rest], inside[rest])
    result[rest] = _quantile(level, after[rest], theta[rest])
    return result


def _rescaled(counts: Tensor, before: Tensor, after: Tensor, theta: Tensor) -> Tensor:
    """Location and scale of the law, `[n]`; exact up to the law's shape and its steps."""
    old, new = ((m + m.square() / theta).sqrt() for m in (before, after))
    return (after + (counts - before) * (new / old)).round().clamp_min(0)


def _level(counts: Tensor, mean: Tensor, theta: Tensor, inside: Tensor) -> Tensor:
    """`F(c - 1) + inside * p(c)` in double precision, `[n]`."""
    p, odds, theta = _start(mean, theta)
    below = torch.zeros_like(p)
    left = counts.long()
    level = torch.empty_like(p)
    where = torch.arange(len(p), device=p.device)
    inside = inside.double()
    k = 0
    while len(where):
        done = left == k
        level[where[done]] = below[done] + inside[done] * p[done]
        go = ~done
        where, left, inside = where[go], left[go], inside[go]
        below, p, odds, theta = (below + p)[go], p[go], odds[go], theta[go]
        p = p * odds * ((k + theta) / (k + 1))
        k += 1
    return level.clamp(EDGE, 1 - EDGE)


def _quantile(level: Tensor, mean: Tensor, theta: Tensor) -> Tensor:
    """Least count whose distribution function reaches `level`, `[n]`."""
    p, odds, theta = _start(mean, theta)
    total = p
    counts = torch.zeros(len(p), device=p.device)
    where = torch.arange(len(p), device=p.device)
    k = 0
    while True:
        go = total < level
        # Rounding may keep the sum of all probabilities just below a level.
        go &= (p > 1e-18) | (k < mean)
        counts[where[~go]] = float(k)
        where, level, mean, total, p = where[go], level[go], mean[go], total[go], p[go]
        if not len(where):
            return counts
        odds, theta = odds[go], theta[go]
        p = p * odds * ((k + theta) / (k + 1))
        total = total + p
        k += 1


def _start(mean: Tensor, theta: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """`p(0)`, the odds `mean / (mean + theta)` of the recurrence, and theta, all double."""
    mean, theta = mean.double(), theta.double()
    return (-theta * torch.log1p(mean / theta)).exp(), mean / (mean + theta), theta
