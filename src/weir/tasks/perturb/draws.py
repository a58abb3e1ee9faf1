"""Draws of negative-binomial counts.

Sampling a gamma and a Poisson variate for each of thousands of genes would take most of the time
in which cells are generated, although nine in ten of the counts are zero or small. These come
from one uniform each, through the inverse of the distribution function. A count is positive with
a probability of at most its mean, so that the first eight bits of the uniform decide most zeros,
and only the others climb, together, from 1 upwards.
"""

from __future__ import annotations

import torch
from torch import Tensor

from weir.tasks.perturb.climb import (
    MOST,
    blocks,
    coarse,
    entries,
    indices,
    quantile,
    refined,
    take,
)

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
