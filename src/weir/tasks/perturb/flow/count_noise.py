"""Counts of an edited cell: the cell's own count noise carried over to other means.

A real cell differs from its mean by noise. To ask what *this* cell would have shown, the noise is
abducted as the level u of each count in its negative-binomial law, and the edited count is the
quantile of the same level under the new mean (Pearl 2009, "Causality", section 7.1; the simulator
makes its twins the same way). Equal means give back the very counts.

Most counts are zeros that stay zeros, and two dense comparisons tell which: laws of one theta are
ordered by their means, so that a zero only leaves if the mean rises, with the probability
`1 - P_after(0) / P_before(0)`, which is at most `(after - before) / (1 + before / theta)`. Only
counts that are seen, and zeros that may leave, are gathered.
"""

from __future__ import annotations

import torch
from torch import Tensor

from weir.tasks.perturb.representation.nb_draws import (
    MOST,
    MOST_MEAN,
    Entries,
    blocks,
    coarse,
    entries,
    indices,
    level,
    quantile,
    refined,
    take,
)

EDGE = 1e-6
"""Levels are kept this far from 0 and 1: what a law calls impossible says nothing of the level."""
_EDGE_SCORE = 4.753
"""The standard normal quantile of `1 - EDGE`."""
_SKEW = 3.0
"""Inverse dispersion below which a large count is gamma distributed rather than nearly normal."""


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
    result = counts.clone(memory_format=torch.contiguous_format)
    if not len(result):
        return result
    slope = theta.reciprocal()
    seen, zeros = [], []
    for place, (c, b, a) in blocks(counts, before, after):
        listed = indices(c > 0)
        inside = torch.rand(listed.shape, generator=generator, device=c.device)
        seen.append(_gather(place, listed, c, b, a, theta, inside))
        zeros.append(_leaving(place, c, b, a, theta, slope, generator))
    number = sum(len(part[0]) for part in seen)
    where, c, b, a, shape, inside = (torch.cat(v) for v in zip(*seen, *zeros, strict=True))
    found = _carry(c, b, a, shape, inside, number)
    result.view(-1).scatter_(0, where, torch.where(a == b, c, found))
    return result


def _gather(
    place: int,
    where: Tensor,
    counts: Tensor,
    before: Tensor,
    after: Tensor,
    theta: Tensor,
    inside: Tensor,
) -> tuple[Tensor, ...]:
    """Entries `where` of a block: place in the whole, count, means, theta and level inside."""
    single = (take(v, where) for v in (counts, before, after))
    return where + place, *single, take(theta, where % len(theta)), inside


def _leaving(
    place: int,
    counts: Tensor,
    before: Tensor,
    after: Tensor,
    theta: Tensor,
    slope: Tensor,
    generator: torch.Generator | None,
) -> tuple[Tensor, ...]:
    """The same for the zeros of a block that leave."""
    rise, first = after - before, coarse(before, generator)
    # `first (1 + before / theta)` without a temporary more.
    may = indices(rise > (before * slope).mul_(first).add_(first))
    b, shape = take(before, may), take(theta, may % len(theta))
    chance = -torch.expm1(-shape * torch.log1p(take(rise, may) / (shape + b)))
    from_top = refined(take(first, may), generator)
    go = indices((take(counts, may) == 0) & (from_top < chance))
    inside = 1 - from_top.index_select(0, go)
    return _gather(place, may.index_select(0, go), counts, before, after, theta, inside)


def _carry(
    counts: Tensor, before: Tensor, after: Tensor, theta: Tensor, inside: Tensor, seen: int
) -> Tensor:
    """The same for single entries, `[n]` each, of which the first `seen` are not zeros."""
    small = torch.maximum(before, after) <= MOST_MEAN
    small &= counts <= MOST
    large = indices(~small)
    old, new = entries(before, theta), entries(after, theta)
    levels = torch.cat(
        [
            level(counts.where(small, 1)[:seen], inside[:seen], Entries(*(v[:seen] for v in old))),
            inside[seen:] * old.none[seen:],
        ]
    )
    rest = levels.clamp_(EDGE, 1 - EDGE) - new.none
    climbs = indices((rest > 0) & small)
    found, left = quantile(rest.index_select(0, climbs), new.take(climbs))
    result = torch.zeros_like(counts).scatter_(0, climbs, found)
    # The tail beyond the climb, and whatever is large.
    left = climbs.index_select(0, left)
    least = torch.cat([torch.zeros_like(large), torch.full_like(left, MOST)])
    far = torch.cat([large, left])
    parts = (v.index_select(0, far) for v in (counts, before, after, theta, inside))
    return result.scatter_(0, far, torch.maximum(_mapped(*parts), least))


def _mapped(counts: Tensor, before: Tensor, after: Tensor, theta: Tensor, inside: Tensor) -> Tensor:
    """Large counts, `[n]` in any law, by smooth maps between laws of the same theta.

    The level of a law within 0.01 of the given one's; mostly much nearer, see the tests.
    """
    kind = counts.dtype
    counts, inside = counts.double(), inside.double()
    old, new, shape = before.double(), after.double(), theta.double()
    gamma = _as_gamma(counts, inside, old, new, shape)
    normal = _as_normal(counts - 1 + inside, old, new, shape)
    return torch.where(shape < _SKEW, gamma, normal).ceil().clamp_min(0).to(kind)


def _as_gamma(
    counts: Tensor, inside: Tensor, before: Tensor, after: Tensor, theta: Tensor
) -> Tensor:
    """`F(c) = gamma(theta; (c + (theta + 1) / 2) log1p(theta / mean))` (Wise 1950), `[n]`.

    Inside a step levels rise by the power theta of the argument, as at the foot of a gamma law;
    where they do not, steps are narrow.
    """
    half, rate = (theta + 1) / 2, torch.log1p(theta / before)
    foot = torch.where(counts > 0, (counts - 1 + half) / (counts + half), 0) ** theta
    step = (inside + (1 - inside) * foot) ** (1 / theta)
    # Beyond this lies about `EDGE` of a gamma law.
    most = theta + _EDGE_SCORE * theta.sqrt() + _EDGE_SCORE**2 / 2
    score = torch.minimum((counts + half) * rate * step, most)
    return score / torch.log1p(theta / after) - half


def _as_normal(at: Tensor, before: Tensor, after: Tensor, theta: Tensor) -> Tensor:
    """Signed roots of deviances are standard normal, at `c + 2/3` (Peizer & Pratt 1968), `[n]`."""
    score = _root((at + 2 / 3).clamp_min(0), before, theta).clamp(-_EDGE_SCORE, _EDGE_SCORE)
    scale = (after + after.square() / theta).sqrt()
    place = torch.maximum(after + score * scale, after / 10)
    for _ in range(8):
        root = _root(place, after, theta)
        slope = (place / after).log() - torch.log1p((place - after) / (after + theta))
        slope = torch.where(root.abs() < 1e-4, 1 / scale, slope / root)
        place = torch.maximum(place - (root - score) / slope, place / 4)
    return place - 2 / 3


def _root(x: Tensor, mean: Tensor, theta: Tensor) -> Tensor:
    """Signed root of the deviance of any x, at least 0."""
    total = (x + theta) * torch.log1p((x - mean) / (mean + theta))
    deviance = torch.special.xlogy(x, x / mean) - total
    return (x - mean).sign() * (2 * deviance).clamp_min(0).sqrt()
