"""Intervals of the difference between two forecasters on the same, serially dependent items."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike


@dataclass(frozen=True)
class PairedDifference:
    """Mean of `a - b` over items, and how far chance could have moved it.

    Attributes:
        mean: mean difference; negative where `a` scores lower, that is better.
        low: lower end of the interval.
        high: upper end of the interval.
        relative: the mean difference over the mean of `b`; NaN where that is zero.
        level: probability that the interval is meant to hold.
        block: items resampled together.
    """

    mean: float
    low: float
    high: float
    relative: float
    level: float
    block: int

    @property
    def significant(self) -> bool:
        """Whether the interval leaves out zero."""
        return not self.low <= 0 <= self.high


def paired_difference(
    a: ArrayLike,
    b: ArrayLike,
    *,
    block: int,
    level: float = 0.95,
    resamples: int = 2000,
    seed: int = 0,
) -> PairedDifference:
    """Circular block bootstrap of a mean difference (Politis & Romano 1992).

    Scores of overlapping windows are almost copies of one another: resampling single items would
    give intervals that are far too narrow, so runs of `block` neighbours are drawn instead.

    Args:
        a: `[item]`, scores of one forecaster, in the order of time.
        b: `[item]`, scores of the other one on the same items.
        block: items drawn together; at least the span over which two windows overlap.
        level: probability that the interval is meant to hold.
        resamples: bootstrap replicates.
        seed: of the replicates.
    """
    first, second = np.asarray(a, np.float64), np.asarray(b, np.float64)
    if first.shape != second.shape or first.ndim != 1 or not first.size:
        raise ValueError(f"paired scores have shapes {first.shape} and {second.shape}")
    difference = first - second
    items = len(difference)
    block = min(block, items)
    # Means of all circular blocks at once, from one running sum.
    total = np.concatenate([[0.0], np.concatenate([difference, difference[:block]]).cumsum()])
    blocks = (total[block : block + items] - total[:items]) / block
    random = np.random.default_rng(seed)
    drawn = random.integers(items, size=(resamples, -(-items // block)))
    low, high = np.quantile(blocks[drawn].mean(axis=1), [(1 - level) / 2, (1 + level) / 2])
    mean, base = float(difference.mean()), float(second.mean())
    relative = mean / base if base else math.nan
    return PairedDifference(mean, float(low), float(high), relative, level, block)
