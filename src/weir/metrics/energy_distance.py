"""Energy distance between two sets of points."""

from __future__ import annotations

import torch
from torch import Tensor

from weir.metrics.pairwise import mean_over_pairs


def energy_distance(
    x: Tensor, y: Tensor, *, x_groups: Tensor | None = None, y_groups: Tensor | None = None
) -> Tensor:
    """Unbiased energy distance `2 E|X - Y| - E|X - X'| - E|Y - Y'|`, Euclidean norm.

    Zero in expectation where both sets follow one law, so that single values can be negative.
    Szekely & Rizzo 2013. With the squared norm it would be twice the squared difference of the
    means, and blind to everything else.

    Args:
        x: `[point, dimension]`, at least two points of different groups.
        y: `[point, dimension]`, likewise.
        x_groups: `[point]`, labels of points that are not independent (made from one origin), and
            are left out of the pairs X, X'; None takes all as independent.
        y_groups: likewise for `y`.

    Returns:
        scalar, double precision, in the unit of the points.
    """
    between = mean_over_pairs(torch.sqrt, x, y)
    within = mean_over_pairs(torch.sqrt, x, groups=x_groups)
    return 2 * between - within - mean_over_pairs(torch.sqrt, y, groups=y_groups)
