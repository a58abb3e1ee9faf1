"""What a population of cells is scored by: moments of its genes, and points in PCA space."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor

from weir.tasks.perturb.expression import log_normalise

if TYPE_CHECKING:
    from weir.tasks.perturb.cells import CellSet
    from weir.tasks.perturb.pca import Pca

POINTS = 2000
"""Cells of a population that enter distances between populations, evenly spaced among all."""
SHOWN = 300
"""Cells of which the expression of every gene is kept, for tables."""


class Summary(NamedTuple):
    """A population of cells.

    Attributes:
        cells: their number.
        mean: `[gene]`, of the log-normalised expression of all cells, double precision.
        variance: `[gene]`, unbiased, of all cells; NaN for a single one.
        points: `[point, component]`, PCA coordinates of at most `POINTS` cells.
        origin: `[point]` int64; points of one origin are not independent.
        shown: `[shown, gene]`, expression of at most `SHOWN` cells.
        shown_points: `[shown, component]`.
    """

    cells: int
    mean: Tensor
    variance: Tensor
    points: Tensor
    origin: Tensor
    shown: Tensor
    shown_points: Tensor


def summarise(
    pieces: Iterable[Tensor], cells: int, pca: Pca, origin: Tensor | None = None
) -> Summary:
    """Summary of cells that come in pieces.

    Args:
        pieces: log-normalised expression `[cell, gene]`, at least one piece.
        cells: number of cells in all pieces.
        pca: of the data.
        origin: `[cell]` int64; None takes all cells as independent.
    """
    device = pca.mean.device
    points, shown = spaced(cells, POINTS).to(device), spaced(cells, SHOWN).to(device)
    total = square = torch.zeros((), dtype=torch.float64, device=device)
    coordinates, expressions, places = [], [], []
    begun = 0
    for piece in pieces:
        wide = piece.double()
        # A gene's variance is not small against its square: these values are logarithms.
        total, square = total + wide.sum(dim=0), square + wide.square().sum(dim=0)
        inside = (points >= begun) & (points < begun + len(piece))
        coordinates.append(pca.project(piece[points[inside] - begun]))
        inside = (shown >= begun) & (shown < begun + len(piece))
        expressions.append(piece[shown[inside] - begun])
        places.append(pca.project(expressions[-1]))
        begun += len(piece)
    mean = total / cells
    spread = (square - cells * mean.square()).clamp(min=0)
    return Summary(
        cells=cells,
        mean=mean,
        variance=spread / (cells - 1) if cells > 1 else torch.full_like(mean, torch.nan),
        points=torch.cat(coordinates),
        origin=points if origin is None else origin.to(device)[points],
        shown=torch.cat(expressions),
        shown_points=torch.cat(places),
    )


def summarise_cells(cells: CellSet, scale: float, pca: Pca) -> Summary:
    """Summary of measured cells, at least one."""

    def pieces() -> Iterator[Tensor]:
        for _, batch in cells.all():
            yield log_normalise(batch.counts, batch.library, scale)

    return summarise(pieces(), len(cells), pca)


def spaced(of: int, most: int) -> Tensor:
    """At most `most` items `[n]` int64 below `of`, evenly spaced."""
    count = min(of, most)
    return torch.arange(count) * of // max(count, 1)
