"""Distances of two sets of points: energy distance, and maximum mean discrepancy with Gaussian
kernels.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from weir.metrics.pairwise import mean_over_pairs, median_distance


def energy_distance(
    x: Tensor, y: Tensor, *, x_groups: Tensor | None = None, y_groups: Tensor | None = None
) -> Tensor:
    """Unbiased energy distance `2 E|X - Y| - E|X - X'| - E|Y - Y'|`, Euclidean norm.

    Zero in expectation where both sets follow one law, so that single values can be negative.
    Szekely & Rizzo 2013. With the squared norm it would be twice the squared difference of the
    means, and blind to everything else.

    Args:
        x: `[point, dimension]`, at least two points of different groups.
        y: `[point, dimension]`, as `x`.
        x_groups: `[point]`, labels of points that are not independent (made from one origin), and
            are left out of the pairs X, X'; None takes all as independent.
        y_groups: the same for `y`.

    Returns:
        scalar, double precision, in the unit of the points.
    """
    between = mean_over_pairs(torch.sqrt, x, y)
    within = mean_over_pairs(torch.sqrt, x, groups=x_groups)
    return 2 * between - within - mean_over_pairs(torch.sqrt, y, groups=y_groups)


MULTIPLES = (0.5, 1.0, 2.0)
"""Bandwidths, in units of the median distance."""


def median_bandwidths(points: Tensor, multiples: Sequence[float] = MULTIPLES) -> tuple[float, ...]:
    """Bandwidths by the median heuristic: multiples of the median distance of two points.

    Args:
        points: `[point, dimension]`, not all alike; more than a thousand are thinned.
        multiples: of the median.

    Raises:
        ValueError: the median distance is zero.
    """
    median = float(median_distance(points))
    if median == 0:
        raise ValueError("the median distance is zero: most points are alike")
    return tuple(multiple * median for multiple in multiples)


def rbf_mmd(
    x: Tensor,
    y: Tensor,
    bandwidths: Sequence[float],
    *,
    x_groups: Tensor | None = None,
    y_groups: Tensor | None = None,
) -> Tensor:
    """Unbiased squared MMD, mean over kernels `exp(-|x - y|^2 / (2 b^2))`.

    Gretton et al. 2012, equation 3: zero in expectation where both sets follow one law, so that
    single values can be negative.

    Args:
        x: `[point, dimension]`, at least two points of different groups.
        y: `[point, dimension]`, as `x`.
        bandwidths: b of each kernel, in the unit of the points.
        x_groups: `[point]`, labels of points that are not independent; see `energy_distance`.
        y_groups: the same for `y`.

    Returns:
        scalar, double precision, between -1 and 2.
    """
    kernel = _kernel(bandwidths)
    between = mean_over_pairs(kernel, x, y)
    within = mean_over_pairs(kernel, x, groups=x_groups)
    return within + mean_over_pairs(kernel, y, groups=y_groups) - 2 * between


def _kernel(bandwidths: Sequence[float]) -> Callable[[Tensor], Tensor]:
    rates = [-0.5 / bandwidth**2 for bandwidth in bandwidths]

    def kernel(squares: Tensor) -> Tensor:
        # A kernel lies in 0..1, where single precision is plenty and twice as fast.
        squares = squares.float()
        total = torch.zeros_like(squares)
        for rate in rates:
            total += (squares * rate).exp_()
        return total.div_(len(rates)).double()

    return kernel
