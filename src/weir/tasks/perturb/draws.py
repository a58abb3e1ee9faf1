"""Draws of negative-binomial counts.

Sampling a gamma and a Poisson variate for each of thousands of genes would take most of the time
in which cells are generated, although nine in ten of the counts are zero or small. On a CPU these
come from one uniform each, through the inverse of the distribution function: a comparison decides
the zeros, and only the others climb, together, from 1 upwards.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

_LARGE = 64.0
"""Mean plus four deviations from which climbing would take too many steps."""
_CHUNK = 1 << 21
"""Entries that are drawn at a time, so that their temporaries do not fill the memory."""


def nb_draw(mean: Tensor, theta: Tensor, generator: torch.Generator | None = None) -> Tensor:
    """Counts of the law with `mean` `[..., gene]` and inverse dispersion `theta` `[gene]`.

    Without gradient, in the shape, type and place of `mean`; every entry is independent.
    """
    mean, theta = mean.detach(), theta.detach()
    if mean.device.type != "cpu":
        return _gamma_poisson(mean, theta.expand_as(mean), generator)
    rows = mean.reshape(-1, mean.shape[-1])
    step = max(1, _CHUNK // max(1, rows.shape[1]))
    found = torch.empty_like(rows)
    for begin in range(0, len(rows), step):
        part = rows[begin : begin + step]
        found[begin : begin + step] = _invert(part, theta, generator)
    return found.view(mean.shape)


def _gamma_poisson(mean: Tensor, theta: Tensor, generator: torch.Generator | None) -> Tensor:
    gamma = torch._standard_gamma(theta.contiguous(), generator=generator)
    return torch.poisson(mean * gamma / theta, generator=generator)


def _invert(mean: Tensor, theta: Tensor, generator: torch.Generator | None) -> Tensor:
    """Draws `[row, gene]` on a CPU."""
    at_zero = torch.log1p(mean / theta).mul_(-theta).exp_()
    rest = torch.rand(mean.shape, generator=generator, dtype=mean.dtype).sub_(at_zero)
    found = torch.zeros_like(mean)
    large = mean > _threshold(theta)
    positive = rest >= 0
    if large.any():
        where = _indices(large)
        shape = theta[where % len(theta)]
        found.view(-1)[where] = _gamma_poisson(_take(mean, where), shape, generator)
        positive &= ~large
    where = _indices(positive)
    mu, shape = _take(mean, where), theta[where % len(theta)]
    _climb(found, where, mu, shape, _take(at_zero, where), _take(rest, where))
    return found


def _climb(
    found: Tensor, where: Tensor, mu: Tensor, shape: Tensor, mass: Tensor, rest: Tensor
) -> None:
    """Write the counts of the entries `where`, all at least 1, into `found`.

    Args:
        found: `[row, gene]`.
        where: `[entry]` int64, places in it.
        mu: `[entry]`, means.
        shape: `[entry]`, theta.
        mass: `[entry]`, probability of a zero.
        rest: `[entry]`, what is left of the uniform variate above it.
    """
    odds = mu / (mu + shape)
    # The mass of k is that of k - 1 times (k - 1 + theta) odds / k.
    first = shape * odds
    count = 0
    while len(where):
        count += 1
        mass = mass * first.add(odds, alpha=count - 1).mul_(1 / count)
        found.view(-1).scatter_(0, where, float(count))
        on = rest >= mass
        if count > _LARGE:
            # Past the mean a vanishing mass means that the tail is spent but for rounding.
            on &= mass > 1e-9
        on = _indices(on)
        rest = rest.sub_(mass).index_select(0, on)
        where, mass, odds, first = (v.index_select(0, on) for v in (where, mass, odds, first))


def _threshold(theta: Tensor) -> Tensor:
    """Mean `[gene]` at which `m + 4 sqrt(m) + 4 m / sqrt(theta)` is `_LARGE`."""
    slope = 1 + 4 / theta.sqrt()
    return (((4 + slope * _LARGE).sqrt() - 2) / slope).square()


def _indices(mask: Tensor) -> Tensor:
    """Places of the true values; numpy finds them an order faster than torch."""
    return torch.from_numpy(np.flatnonzero(mask.numpy()))


def _take(values: Tensor, where: Tensor) -> Tensor:
    return values.reshape(-1).index_select(0, where)
