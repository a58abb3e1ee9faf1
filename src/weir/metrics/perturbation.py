"""Scores of a predicted response to a perturbation, from means, variances and t statistics."""

from __future__ import annotations

import torch
from torch import Tensor


def correlation(a: Tensor, b: Tensor) -> Tensor:
    """Pearson correlation over the last axis; 0 where one side is constant, which tells nothing.

    Args:
        a: `[..., gene]`.
        b: `[..., gene]`.
    """
    a, b = a.double(), b.double()
    a, b = a - a.mean(dim=-1, keepdim=True), b - b.mean(dim=-1, keepdim=True)
    sizes = a.norm(dim=-1) * b.norm(dim=-1)
    return torch.where(sizes > 0, (a * b).sum(dim=-1) / sizes.clamp(min=1e-300), 0.0)


def determination(predicted: Tensor, truth: Tensor) -> Tensor:
    """Coefficient of determination `1 - sum (p - t)^2 / sum (t - mean t)^2` over the last axis.

    Not the square of a correlation: it punishes a wrong scale or offset, and is below zero where
    the mean of the truth is the better prediction. NaN where the truth is constant.

    Args:
        predicted: `[..., gene]`.
        truth: `[..., gene]`.
    """
    predicted, truth = predicted.double(), truth.double()
    total = (truth - truth.mean(dim=-1, keepdim=True)).square().sum(dim=-1)
    left = (predicted - truth).square().sum(dim=-1)
    return torch.where(total > 0, 1 - left / total.clamp(min=1e-300), torch.nan)


def welch_t(
    mean: Tensor,
    variance: Tensor,
    count: int,
    other_mean: Tensor,
    other_variance: Tensor,
    other_count: int,
) -> Tensor:
    """Welch's t statistic of each gene; 0 where both sides are the same constant.

    Args:
        mean: `[gene]`, of the one set.
        variance: `[gene]`, unbiased.
        count: members of the set.
        other_mean: `[gene]`, of the set it is compared with.
        other_variance: `[gene]`.
        other_count: members of that set.
    """
    error = (variance.double() / count + other_variance.double() / other_count).sqrt()
    return (mean.double() - other_mean.double()) / error.clamp(min=1e-12)


def top(statistic: Tensor, count: int) -> Tensor:
    """Items `[count]` of the largest absolute values of `[gene]`, the first of equals first."""
    return statistic.abs().sort(descending=True, stable=True).indices[:count]


def overlap(predicted: Tensor, truth: Tensor, count: int) -> float:
    """Share of the truth's `count` strongest genes that are among the predicted ones, same sign.

    Args:
        predicted: `[gene]` t statistics.
        truth: `[gene]` t statistics.
        count: genes compared.
    """
    chosen = torch.zeros(len(truth), dtype=torch.bool, device=truth.device)
    chosen[top(predicted, count)] = True
    wanted = top(truth, count)
    agree = chosen[wanted] & (predicted[wanted].sign() == truth[wanted].sign())
    return float(agree.double().mean())


def discrimination(predicted: Tensor, candidates: Tensor, own: int) -> float:
    """How near the prediction is to its own truth among those of other perturbations.

    `1 - (candidates nearer than the own one) / (candidates - 1)`, by the sum of absolute
    differences; ties count half. 1 is perfect and one half is chance.

    Args:
        predicted: `[gene]`.
        candidates: `[candidate, gene]`, at least two, the truths of all perturbations.
        own: row of the prediction's own truth.
    """
    if len(candidates) < 2:
        raise ValueError("discrimination needs at least two candidates")
    distances = (candidates.double() - predicted.double()).abs().sum(dim=1)
    others = distances[torch.arange(len(candidates), device=distances.device) != own]
    nearer = (others < distances[own]).double() + 0.5 * (others == distances[own]).double()
    return 1 - float(nearer.mean())
