"""Curves behind the scores of a risk: reliability, ROC and precision-recall."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from weir.metrics.classification import bins_of_mass

GRID = 101
"""Points of the ROC and precision-recall curves."""
Z = 1.959964
"""Quantile of the normal distribution for 95 %."""


class Bins(NamedTuple):
    """Which bin a record falls into.

    Attributes:
        number: `[record]` int64.
        count: number of bins.
    """

    number: Tensor
    count: int


def bins_of(risk: Tensor, count: int) -> Bins:
    """Bins of about equally many records, by risk; as `metrics.classification.reliability`'s."""
    parts = bins_of_mass(risk, count)
    number = torch.empty(len(risk), dtype=torch.int64)
    for k, part in enumerate(parts):
        number[part] = k
    return Bins(number, len(parts))


def calibration_gap(risk: Tensor, outcome: Tensor, bins: Bins, weight: Tensor) -> Tensor:
    """`metrics.classification.calibration_error` under weights `[draw, record]`, `[draw]`."""
    gap = weight * (risk - outcome)
    sums = torch.zeros(len(weight), bins.count, dtype=gap.dtype).index_add_(1, bins.number, gap)
    return sums.abs().sum(1) / weight.sum(1)


def diagram(risk: Tensor, outcome: Tensor, bins: Bins) -> pd.DataFrame:
    """Each bin's mean risk and observed share, with Wilson's 95 % interval, and its records.

    Columns: predicted, observed, low, high, records.
    """
    n = bins.number.bincount(minlength=bins.count).double()
    predicted = n.new_zeros(bins.count).index_add_(0, bins.number, risk) / n
    observed = n.new_zeros(bins.count).index_add_(0, bins.number, outcome) / n
    centre = (observed + Z**2 / (2 * n)) / (1 + Z**2 / n)
    half = Z * (observed * (1 - observed) / n + Z**2 / (4 * n**2)).sqrt() / (1 + Z**2 / n)
    return pd.DataFrame(
        {
            "predicted": predicted.numpy(),
            "observed": observed.numpy(),
            "low": (centre - half).clamp(min=0).numpy(),
            "high": (centre + half).clamp(max=1).numpy(),
            "records": n.long().numpy(),
        }
    )


def operating(
    logit: Tensor, outcome: Tensor, weights: tuple[Tensor, Tensor]
) -> dict[str, pd.DataFrame]:
    """ROC and precision-recall curves with pointwise 95 % bands of the resamples.

    Args:
        logit: `[record]`.
        outcome: `[record]`, 0 or 1.
        weights: of subjects in each resample `[draw, subject]`, and each record's subject.

    Returns:
        `roc`: false_positive_rate, sensitivity, low, high; `precision_recall`: recall, precision,
        low, high.
    """
    drawn, subject = weights
    order = logit.argsort(descending=True, stable=True)
    ordered = logit[order]
    ends = torch.ones(len(ordered), dtype=torch.bool)
    ends[:-1] = ordered[1:] != ordered[:-1]
    grid = np.linspace(0, 1, GRID)
    rows: list[tuple[np.ndarray, np.ndarray]] = []
    for weight in [torch.ones(drawn.shape[1]).double(), *drawn]:
        mass = weight[subject][order]
        positive = (mass * outcome[order]).cumsum(0)
        negative = (mass * (1 - outcome[order])).cumsum(0)
        if positive[-1] > 0 and negative[-1] > 0:
            rows.append(_curves(positive[ends].numpy(), negative[ends].numpy(), grid))
    roc, precision = (np.stack(parts) for parts in zip(*rows, strict=True))
    return {
        "roc": _frame("false_positive_rate", "sensitivity", grid, roc),
        "precision_recall": _frame("recall", "precision", grid[1:], precision),
    }


def _curves(
    positive: np.ndarray, negative: np.ndarray, grid: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Sensitivity at the false positive rates of a grid; precision where a recall is first met."""
    rate = np.concatenate([[0.0], negative / negative[-1]])
    recall = np.concatenate([[0.0], positive / positive[-1]])
    # Of several sensitivities at one rate (a vertical step) `interp` takes the highest.
    sensitivity = np.interp(grid, rate, recall)
    first = np.searchsorted(positive / positive[-1], grid[1:] - 1e-12)
    precision = positive[first] / (positive[first] + negative[first])
    return sensitivity, precision


def _frame(x: str, y: str, grid: np.ndarray, curves: np.ndarray) -> pd.DataFrame:
    """The first curve, and the band of the others."""
    others = curves[1:] if len(curves) > 1 else curves
    low, high = np.quantile(others, [0.025, 0.975], axis=0)
    return pd.DataFrame({x: grid, y: curves[0], "low": low, "high": high})
