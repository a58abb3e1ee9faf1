"""Quantiles of the negative binomial law: counts from uniform numbers."""

from __future__ import annotations

import numpy as np
from scipy.stats import nbinom

LARGE = 200.0
"""Mean above which the recursion from zero would underflow or take long."""


def quantile(uniform: np.ndarray, mean: np.ndarray, theta: np.ndarray) -> np.ndarray:
    """The least count whose distribution function reaches `uniform`.

    Most counts of cells are zero or small, so that summing up the mass function from zero, with
    ever fewer values left, is much faster than inverting the incomplete beta function.

    Args:
        uniform: in (0, 1).
        mean: of the same shape, positive.
        theta: inverse dispersion, broadcasts.

    Returns:
        float64 whole numbers of that shape.
    """
    theta = np.broadcast_to(theta, mean.shape)
    counts = np.zeros(mean.shape)
    success = theta / (theta + mean)
    mass = np.exp(-theta * np.log1p(mean / theta))
    below = mass.copy()
    left = np.flatnonzero((uniform > below) & (mean <= LARGE))
    u, mass, below = uniform.flat[left], mass.flat[left], below.flat[left]
    size, failure = theta.flat[left], 1 - success.flat[left]
    count = 0
    while len(left):
        mass = mass * (count + size) / (count + 1) * failure
        after = below + mass
        count += 1
        # A mass too small to be added ends the tail, whatever rounding has left of `u`.
        done = (u <= after) | ((after == below) & (count > LARGE))
        counts.flat[left[done]] = count
        stay = ~done
        left, u, size, failure = left[stay], u[stay], size[stay], failure[stay]
        mass, below = mass[stay], after[stay]
    big = mean > LARGE
    if big.any():
        counts[big] = nbinom.ppf(uniform[big], theta[big], success[big])
    return counts
