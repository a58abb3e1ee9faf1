"""Distances of two sets of items by their features, of any network, and neighbours among them.

Everything works on blocks of rows, so that ten thousand items against ten thousand fit anywhere.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from weir.metrics.pairwise import squared_distances

ROWS = 256
"""Rows of a block: 10 MiB of distances to ten thousand items, faster than larger ones."""


class Manifold(NamedTuple):
    """How two sets cover each other, judged by balls around the items; all but `density` in 0..1.

    Attributes:
        precision: share of the made items that lie in a ball of the real ones.
        recall: share of the real items that lie in a ball of the made ones.
        density: balls of real items that a made one lies in, over those it is expected to.
        coverage: share of the real items whose ball holds a made item.
    """

    precision: float
    recall: float
    density: float
    coverage: float


def frechet_distance(x: Tensor, y: Tensor) -> float:
    """Frechet distance of the Gaussians with the two sets' moments (Heusel et al. 2017).

    `|m - n|^2 + tr(C + D - 2 (C D)^(1/2))`. It is above 0 for two finite sets of one law, by
    about (features / items) of the variance: compare sets of one size only.

    Args:
        x: `[item, feature]`, at least two.
        y: `[item, feature]`, at least two.
    """
    means, covariances = zip(*(_moments(part) for part in (x, y)), strict=True)
    # The eigenvalues of C D are the squared singular values of the product of the two roots, which
    # are exact where the covariances have no full rank.
    roots = [_root(covariance) for covariance in covariances]
    overlap = torch.linalg.svdvals(roots[0] @ roots[1]).sum()
    spread = sum(covariance.trace() for covariance in covariances)
    return float((means[0] - means[1]).square().sum() + spread - 2 * overlap)


def kernel_distance(
    x: Tensor, y: Tensor, *, x_strata: Tensor | None = None, y_strata: Tensor | None = None
) -> float:
    """Unbiased squared MMD with the kernel `(x . y / features + 1)^3`, which is KID.

    Binkowski et al. 2018. Zero in expectation for two sets of one law, so that single values can
    be negative; the number of items does not shift it.

    Args:
        x: `[item, feature]`, at least two.
        y: `[item, feature]`, at least two.
        x_strata: `[item]` labels, if the number of items of each label is no accident, as where
            both sets have the same shares: as if they were independent, they would seem closer.
        y_strata: the same for `y`.
    """
    return _within(x, x_strata) + _within(y, y_strata) - 2 * _kernels(x, y) / (len(x) * len(y))


def manifold(real: Tensor, made: Tensor, *, near: int = 3, dense: int = 5) -> Manifold:
    """Precision and recall, density and coverage.

    A ball around an item reaches to its k-th neighbour of its own set: k is `near` for precision
    and recall (Kynkaanniemi et al. 2019), and `dense` for density and coverage, which one outlier
    among the real items does not spoil (Naeem et al. 2020). For two sets of one law, precision and
    recall are not 1, density is, and coverage is `1 - 2^-dense` if the sets are of one size.

    Args:
        real: `[item, feature]`, more than `near` and `dense`.
        made: `[item, feature]`, more than `near`.
        near: neighbour that a ball reaches to, of precision and recall.
        dense: the same, of density and coverage.

    Raises:
        ValueError: too few items.
    """
    small, large = radii(real, near, dense).square().unbind(1)
    around = radii(made, near).square()
    inside, hits = 0, 0
    recalled = torch.zeros(len(real), dtype=torch.bool, device=real.device)
    covered = torch.zeros_like(recalled)
    for rows, squares in _blocks(made, real):
        inside += int((squares <= small).any(dim=1).sum())
        within = squares <= large
        hits += int(within.sum())
        covered |= within.any(dim=0)
        recalled |= (squares <= around[rows]).any(dim=0)
    return Manifold(
        inside / len(made),
        float(recalled.double().mean()),
        hits / (dense * len(made)),
        float(covered.double().mean()),
    )


def radii(points: Tensor, *neighbours: int) -> Tensor:
    """Distances of each point `[point, feature]` to its k-th neighbours, `[point, k]`.

    Args:
        points: set among which neighbours are sought; none is its own.
        neighbours: numbers k, from 1.

    Raises:
        ValueError: there are not that many others.
    """
    if not 1 <= min(neighbours) <= max(neighbours) < len(points):
        raise ValueError(f"{len(points)} points have no neighbours number {neighbours}")
    wanted = torch.tensor(neighbours, device=points.device) - 1
    found = []
    for rows, squares in _blocks(points, points):
        # By number, since the distance to itself is not exactly zero after rounding.
        squares[torch.arange(len(rows), device=rows.device), rows] = torch.inf
        found.append(squares.topk(max(neighbours), dim=1, largest=False).values[:, wanted].sqrt())
    return torch.cat(found)


def nearest(points: Tensor, among: Tensor) -> tuple[Tensor, Tensor]:
    """Distance `[point]` of each point to the nearest one `among`, and which `[point]` that is.

    Args:
        points: `[point, feature]`.
        among: `[other, feature]`.
    """
    found = [squares.min(dim=1) for _, squares in _blocks(points, among)]
    index = torch.cat([each.indices for each in found])
    # The winner's distance again, without the rounding of products.
    distance = torch.cat(
        [
            (a - among[b]).norm(dim=1)
            for a, b in zip(points.split(ROWS), index.split(ROWS), strict=True)
        ]
    )
    return distance, index


def _blocks(x: Tensor, y: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    """Row numbers of some of `x`, and their squared distances `[row, y]`."""
    centre = y.mean(dim=0)
    y = y - centre
    for rows in torch.arange(len(x), device=x.device).split(ROWS):
        yield rows, squared_distances(x[rows] - centre, y)


def _moments(points: Tensor) -> tuple[Tensor, Tensor]:
    if len(points) < 2:
        raise ValueError(f"a covariance needs at least two items, got {len(points)}")
    points = points.double()
    return points.mean(dim=0), points.mT.cov().reshape(points.shape[1], -1)


def _root(covariance: Tensor) -> Tensor:
    values, vectors = torch.linalg.eigh(covariance)
    root: Tensor = (vectors * values.clamp(min=0).sqrt()) @ vectors.mT
    return root


def _within(x: Tensor, strata: Tensor | None) -> float:
    """Mean kernel of two independent items of a set."""
    if len(x) < 2:
        raise ValueError(f"an unbiased kernel distance needs at least two items, got {len(x)}")
    if strata is None:
        strata = torch.zeros(len(x), dtype=torch.int64, device=x.device)
    total = _kernels(x, x)
    for label in strata.unique():
        part = x[strata == label]
        if len(part) > 1:
            # Instead of an item with itself, another one of its stratum.
            inside = total if len(part) == len(x) else _kernels(part, part)
            own = (part.square().sum(dim=1) / x.shape[1] + 1).pow(3).sum(dtype=torch.float64)
            total += (inside - float(own)) * len(part) / (len(part) - 1) - inside
    return total / len(x) ** 2


def _kernels(x: Tensor, y: Tensor) -> float:
    """Sum of the kernel over all pairs."""
    total = 0.0
    scaled = y.mT / x.shape[1]
    for part in x.split(ROWS):
        base = (part @ scaled).add_(1)
        # Many times faster than `pow`.
        total += float((base.square() * base).sum(dim=1).sum(dtype=torch.float64))
    return total
