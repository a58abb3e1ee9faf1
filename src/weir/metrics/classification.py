"""Scores of predicted probabilities of a yes-or-no outcome, with bootstrap intervals."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor


class Reliability(NamedTuple):
    """Items in bins of predicted probability, each `[bin]`; empty bins are left out.

    Attributes:
        predicted: mean predicted probability.
        observed: share of positives.
        items: weight of the items.
    """

    predicted: Tensor
    observed: Tensor
    items: Tensor


def auroc(score: Tensor, outcome: Tensor, weight: Tensor | None = None) -> Tensor:
    """Area under the ROC curve: chance that a positive outranks a negative, ties counting half.

    Args:
        score: `[item]`, higher means more likely positive; any monotone scale.
        outcome: `[item]`, 0 or 1.
        weight: `[..., item]`, non-negative weights of the items; ones by default.

    Returns:
        `[...]` float64; NaN where positives or negatives have no weight.
    """
    order, last = _ranked(score)
    positive, negative = _masses(outcome, weight, order)
    total = negative.sum(-1)
    # Negatives ranked above a tie group, and half of those within it.
    above = negative.cumsum(-1)[..., last]
    inside = _difference(above)
    gained = _difference(positive.cumsum(-1)[..., last])
    below = total[..., None] - above + inside / 2
    return (gained * below).sum(-1) / (positive.sum(-1) * total)


def auprc(score: Tensor, outcome: Tensor, weight: Tensor | None = None) -> Tensor:
    """Average precision: precision at each threshold, weighted by the recall it adds.

    Not interpolated, which would flatter (Davis & Goadrich 2006). Arguments as of `auroc`.

    Returns:
        `[...]` float64; NaN where positives have no weight.
    """
    order, last = _ranked(score)
    positive, negative = _masses(outcome, weight, order)
    hits = positive.cumsum(-1)[..., last]
    seen = hits + negative.cumsum(-1)[..., last]
    gained = _difference(hits)
    precision = torch.where(seen > 0, hits / seen.clamp(min=1e-300), torch.zeros_like(seen))
    return (gained * precision).sum(-1) / positive.sum(-1)


def brier(probability: Tensor, outcome: Tensor, weight: Tensor | None = None) -> Tensor:
    """Mean squared difference of probability `[item]` and outcome `[item]`, `[...]` float64."""
    return _mean((probability.double() - outcome.double()).square(), weight)


def accuracy(
    probability: Tensor, outcome: Tensor, weight: Tensor | None = None, threshold: float = 0.5
) -> Tensor:
    """Share of items on the right side of the threshold, `[...]` float64."""
    return _mean(((probability >= threshold) == (outcome > 0)).double(), weight)


def bins_of_mass(score: Tensor, bins: int) -> list[Tensor]:
    """Items `[n]` int64 of about equally many per bin, from the lowest score up.

    Items of one score stay in one bin: else a constant would seem wrong by the bins' noise.

    Args:
        score: `[item]`.
        bins: at most this many.
    """
    order, ends = _ranked(-score)
    cuts = torch.arange(1, bins, device=order.device) * len(order) // bins
    # Each cut goes to the end of the ties that it would part.
    cuts = ends[torch.searchsorted(ends, cuts - 1)] + 1
    return [part for part in order.tensor_split(cuts.unique().tolist()) if len(part)]


def reliability(probability: Tensor, outcome: Tensor, bins: int = 10) -> Reliability:
    """What was observed beside what was predicted, in bins of about equally many items.

    Bins of equal width would leave most of them all but empty where the outcome is rare.

    Args:
        probability: `[item]`.
        outcome: `[item]`, 0 or 1.
        bins: at most this many, see `bins_of_mass`.
    """
    parts = bins_of_mass(probability, bins)
    said, seen = probability.double(), outcome.double()
    return Reliability(
        torch.stack([said[part].mean() for part in parts]),
        torch.stack([seen[part].mean() for part in parts]),
        torch.tensor([float(len(part)) for part in parts], dtype=torch.float64),
    )


def calibration_error(probability: Tensor, outcome: Tensor, bins: int = 10) -> Tensor:
    """Mean distance of what was observed from what was predicted, over `reliability`'s bins.

    The expected calibration error with bins of equal mass (Nixon et al. 2019). Of a calibrated
    model it is above zero by the noise of the bins: about `sqrt(2 p (1 - p) bins / (pi items))`.
    """
    found = reliability(probability, outcome, bins)
    gap = (found.predicted - found.observed).abs()
    return (gap * found.items).sum() / found.items.sum()


def bootstrap_weights(items: int, draws: int, seed: int) -> Tensor:
    """How often each item is drawn in resamples with replacement, `[draw, item]` float64."""
    generator = torch.Generator().manual_seed(seed)
    chosen = torch.randint(items, (draws, items), generator=generator)
    weights = torch.zeros(draws, items, dtype=torch.float64)
    return weights.scatter_add_(1, chosen, torch.ones_like(chosen, dtype=torch.float64))


def interval(values: Tensor, level: float = 0.95) -> tuple[float, float]:
    """Central interval of bootstrap values `[draw]`; draws without both classes are left out."""
    kept = values[values.isfinite()]
    if not len(kept):
        raise ValueError("no resample has both classes")
    tail = (1 - level) / 2
    low, high = torch.quantile(kept, torch.tensor([tail, 1 - tail], dtype=kept.dtype)).tolist()
    return low, high


def _ranked(score: Tensor) -> tuple[Tensor, Tensor]:
    """Items from the highest score down, and the position that ends each group of ties."""
    if score.isnan().any():
        raise ValueError("a score is NaN")
    order = score.argsort(descending=True, stable=True)
    ordered = score[order]
    ends = torch.ones(len(ordered), dtype=torch.bool, device=score.device)
    ends[:-1] = ordered[1:] != ordered[:-1]
    return order, ends.nonzero()[:, 0]


def _masses(outcome: Tensor, weight: Tensor | None, order: Tensor) -> tuple[Tensor, Tensor]:
    """Weights of the positives and of the negatives in a given order, `[..., item]`."""
    positive = (outcome > 0).double()
    mass = torch.ones_like(positive) if weight is None else weight.double()
    return (mass * positive)[..., order], (mass * (1 - positive))[..., order]


def _difference(cumulated: Tensor) -> Tensor:
    return torch.cat([cumulated[..., :1], cumulated.diff(dim=-1)], -1)


def _mean(values: Tensor, weight: Tensor | None) -> Tensor:
    if weight is None:
        return values.mean()
    return (values * weight.double()).sum(-1) / weight.double().sum(-1)
