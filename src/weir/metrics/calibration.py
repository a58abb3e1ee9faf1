"""Calibration: whether the truth behaves like one more member of the ensemble."""

from __future__ import annotations

import torch
from torch import Tensor

from weir.metrics.ensembles import quantiles


def covered(ordered: Tensor, truth: Tensor, level: float) -> Tensor:
    """Whether the truth lies in the central interval of probability `level`.

    The ends are quantiles of rank p (m + 1), so that a perfect ensemble covers `level` whatever
    its size (exactly where p (m + 1) is whole; m of at least `2 / (1 - level) - 1` is needed).
    By NumPy's default quantiles, 100 members would cover .490 and .882 instead of .5 and .9.

    Args:
        ordered: `[..., member]`, ascending (see `weir.metrics.ensembles.order`).
        truth: `[...]`.
        level: 0 to 1.

    Returns:
        `[...]` bool.
    """
    ends = quantiles(ordered, ((1 - level) / 2, (1 + level) / 2), "weibull")
    return (ends[..., 0] <= truth) & (truth <= ends[..., 1])


def pit(
    samples: Tensor,
    truth: Tensor,
    generator: torch.Generator | None = None,
    *,
    ordered: bool = False,
) -> Tensor:
    """Probability integral transform of the truth, uniform on 0..1 for a calibrated ensemble.

    The rank among m + 1 exchangeable values, spread uniformly over its cell and over ties
    (Czado, Gneiting & Held 2009).

    Args:
        samples: `[..., member]`.
        truth: `[...]`.
        generator: source of the randomisation, on the device of the truth.
        ordered: whether the members are in ascending order, which is faster.

    Returns:
        `[...]`.
    """
    value = truth[..., None].contiguous()
    if ordered:
        below = torch.searchsorted(samples, value)[..., 0]
        ties = torch.searchsorted(samples, value, right=True)[..., 0] - below
    else:
        below = (samples < value).sum(dim=-1)
        ties = (samples == value).sum(dim=-1)
    uniform = torch.rand(truth.shape, generator=generator, device=truth.device)
    return (below + uniform * (ties + 1)) / (samples.shape[-1] + 1)


def histogram(values: Tensor, bins: int = 20) -> Tensor:
    """Counts of values of 0..1 in equal bins, `[bin]` float64; flat where a PIT is calibrated."""
    return torch.histc(values.double(), bins, 0.0, 1.0)


def reliability(values: Tensor, levels: Tensor) -> Tensor:
    """Share of PIT values at or below each level, `[level]` float64; the diagonal is perfect."""
    return (values.reshape(-1, 1) <= levels).double().mean(dim=0)


def spread(samples: Tensor) -> Tensor:
    """Root of the mean ensemble variance, scalar; `samples` is `[..., member]`.

    Two models of the same conditions are compared by the ratio of their spreads.
    """
    return samples.double().var(dim=-1).mean().sqrt()


def spread_ratio(samples: Tensor, truth: Tensor) -> Tensor:
    """Standard deviation of all forecast values over that of all true ones, scalar.

    One for a forecast that varies as much as the truth does, about the mean of everything; less
    for one that shrinks towards a mean.

    Args:
        samples: `[..., member]`.
        truth: `[...]`.
    """
    return samples.double().std(correction=0) / truth.double().std(correction=0)


def spread_skill(samples: Tensor, truth: Tensor) -> Tensor:
    """Spread over the error of the ensemble mean, scalar; one where the spread is honest.

    The variance is scaled by (m + 1) / m, since the mean of m members errs by var / m more
    (Fortin et al. 2014).

    Args:
        samples: `[..., member]`.
        truth: `[...]`.
    """
    members = samples.shape[-1]
    error = (samples.double().mean(dim=-1) - truth).square().mean()
    return (samples.double().var(dim=-1).mean() * (members + 1) / members / error).sqrt()
