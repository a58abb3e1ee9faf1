"""Means over pairs of points, from blocks of their squared distances."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

BLOCK = 256
"""Rows of a block, whose distances (512 KiB) stay in a core's cache."""


def mean_over_pairs(
    function: Callable[[Tensor], Tensor],
    x: Tensor,
    y: Tensor | None = None,
    *,
    groups: Tensor | None = None,
    block: int = BLOCK,
) -> Tensor:
    """Mean of `function` of the squared Euclidean distance, in double precision.

    Args:
        function: of squared distances `[row, column]` to numbers `[..., row, column]`.
        x: `[point, dimension]`.
        y: `[point, dimension]`; None pairs the points of `x` with each other, none with itself.
        groups: `[point]`, labels of `x` where `y` is None: only points of different groups are
            paired, such as those made from different origins.
        block: rows and columns at a time.

    Returns:
        `[...]`.

    Raises:
        ValueError: there is no pair.
    """
    x = x.double()
    # Distances about the origin lose the digits that a common offset takes.
    centre = x.mean(dim=0)
    x = x - centre
    total = x.new_zeros(())
    pairs = 0
    if y is not None:
        y = y.double() - centre
        for a in x.split(block):
            for b in y.split(block):
                total = total + function(squared_distances(a, b)).sum(dim=(-2, -1))
        pairs = len(x) * len(y)
    else:
        label = torch.arange(len(x), device=x.device) if groups is None else groups
        labels = label.split(block)
        parts = x.split(block)
        for i, (a, of_a) in enumerate(zip(parts, labels, strict=True)):
            for b, of_b in zip(parts[: i + 1], labels[: i + 1], strict=True):
                apart = of_a[:, None] != of_b
                # The distances are symmetric: a block off the diagonal counts twice.
                weight = 1 if a is b else 2
                values = function(squared_distances(a, b)) * apart
                total = total + weight * values.sum(dim=(-2, -1))
                pairs += weight * int(apart.sum())
    if not pairs:
        raise ValueError("a mean over pairs needs at least one pair of points")
    return total / pairs


def squared_distances(x: Tensor, y: Tensor) -> Tensor:
    """Squared Euclidean distances `[row, column]` of `[row, dim]` and `[column, dim]`."""
    squares = x.square().sum(dim=1)[:, None] + y.square().sum(dim=1)
    return torch.addmm(squares, x, y.T, alpha=-2).clamp_(min=0)


def median_distance(points: Tensor, limit: int = 1000) -> Tensor:
    """Median Euclidean distance of two of the points `[point, dimension]`.

    Args:
        points: at least two.
        limit: points used at most, evenly spaced among all.
    """
    if len(points) > limit:
        points = points[torch.linspace(0, len(points) - 1, limit, device=points.device).long()]
    some = points.double() - points.double().mean(dim=0)
    above = torch.triu_indices(len(some), len(some), 1, device=some.device)
    return squared_distances(some, some)[above[0], above[1]].median().sqrt()
