"""Scores of one response: predicted cells of a context under a condition against the true ones.

A population of cells is scored by moments of its genes, and by points in PCA space.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor

from weir.metrics.distances import energy_distance, median_bandwidths, rbf_mmd
from weir.metrics.perturbation import correlation, determination, discrimination, overlap, welch_t
from weir.tasks.perturb.baselines.fitted import Profiles, profiles
from weir.tasks.perturb.representation.cell_code import log_normalise

if TYPE_CHECKING:
    from weir.tasks.perturb.data.cells import Cells, CellSet
    from weir.tasks.perturb.data.load import PerturbData, Response
    from weir.tasks.perturb.data.pca import Pca
    from weir.tasks.perturb.data.schema import Part


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


TOP = 50
"""Differential genes compared; a quarter of all where that is less."""


@dataclass(frozen=True)
class Question:
    """All that a prediction of one response is compared with.

    Attributes:
        response: what is asked.
        truth: of the true cells.
        control: of the context's control cells.
        reference: `[gene]`, mean under the condition elsewhere.
        candidates: `[candidate, gene]`, true changes to tell apart, the own one first.
        bandwidths: of the kernels of the MMD; empty where it is undefined.
        nearest_mmd: least MMD of the truth and a training group under the condition, NaN without.
    """

    response: Response
    truth: Summary
    control: Summary
    reference: Tensor
    candidates: Tensor
    bandwidths: tuple[float, ...]
    nearest_mmd: float

    @property
    def top(self) -> int:
        """Number of differential genes."""
        return max(1, min(TOP, len(self.truth.mean) // 4))

    @property
    def true_t(self) -> Tensor:
        """Welch's t of the truth against control, `[gene]`."""
        return _t(self.truth, self.control)


@dataclass
class Examiner:
    """Makes the questions of one part of the data, and keeps what they have in common.

    Args:
        data: whose responses are asked.
        part: which part.
    """

    data: PerturbData
    part: Part
    train: Profiles = field(init=False)
    asked: Profiles = field(init=False)

    def __post_init__(self) -> None:
        self.train = profiles(self.data.split("train"), self._expression)
        self.asked = profiles(self.data.split(self.part), self._expression)
        self._neighbours: dict[tuple[int, int], Summary] = {}
        self._controls: dict[int, Summary] = {}

    def question(self, response: Response, truth: CellSet | None = None) -> Question:
        """What a prediction of a response is compared with.

        Args:
            response: of the part.
            truth: true cells to compare with, if not all of the response's.
        """
        schema, pca = self.data.schema, self.data.pca
        true_cells = response.truth if truth is None else truth
        found = summarise_cells(true_cells, schema.scale, pca)
        control = self._control(response)
        neighbours = [self._neighbour(cells) for cells in response.neighbours]
        pooled = [found.points, *(group.points for group in neighbours)]
        if not neighbours:
            pooled.append(control.points)
        bandwidths = _bandwidths(pooled)
        distances = [_mmd(found, group, bandwidths) for group in neighbours]
        return Question(
            response=response,
            truth=found,
            control=control,
            reference=self._reference(response),
            candidates=self._candidates(response, found, control),
            bandwidths=bandwidths,
            nearest_mmd=min(distances, default=math.nan),
        )

    def _expression(self, cells: Cells) -> Tensor:
        return log_normalise(cells.counts, cells.library, self.data.schema.scale)

    def _control(self, response: Response) -> Summary:
        """Summary of a context's control cells, made once for all its conditions."""
        if response.context not in self._controls:
            found = summarise_cells(response.sources, self.data.schema.scale, self.data.pca)
            self._controls[response.context] = found
        return self._controls[response.context]

    def _neighbour(self, cells: CellSet) -> Summary:
        """Summary of a training group, made once."""
        key = int(cells.context[0]), int(cells.condition[0])
        if key not in self._neighbours:
            found = summarise_cells(cells, self.data.schema.scale, self.data.pca)
            self._neighbours[key] = found
        return self._neighbours[key]

    def _elsewhere(self, response: Response) -> Tensor:
        """Which perturbed training groups are another context under the response's condition."""
        groups = self.train.perturbed()
        same = groups.condition == response.condition
        return same & (groups.context != response.context)

    def _reference(self, response: Response) -> Tensor:
        groups, elsewhere = self.train.perturbed(), self._elsewhere(response)
        return groups.mean[elsewhere if elsewhere.any() else slice(None)].mean(dim=0)

    def _candidates(self, response: Response, truth: Summary, control: Summary) -> Tensor:
        """True changes, the own one first."""
        groups = self.asked.perturbed()
        here = groups.context == response.context
        others = groups.mean[here & (groups.condition != response.condition)] - control.mean
        if not len(others):
            others = self.train.changes()[self._elsewhere(response)]
        return torch.cat([(truth.mean - control.mean)[None], others])


def score(question: Question, predicted: Summary) -> dict[str, float]:
    """Every score of a response; NaN where one is undefined.

    Scores of spread and distance need two cells, `mmd_ratio` a training group under the condition
    that differs from the truth, `discrimination` another candidate.
    """
    truth, control = question.truth, question.control
    change = predicted.mean - control.mean
    reference = question.reference
    found = {
        "pearson_delta": float(correlation(change, truth.mean - control.mean)),
        "pearson_delta_perturbed": float(
            correlation(predicted.mean - reference, truth.mean - reference)
        ),
        "r2_mean": float(determination(predicted.mean, truth.mean)),
        "r2_variance": float(determination(predicted.variance, truth.variance)),
        "energy_distance": _energy(truth, predicted),
        "mmd": _mmd(truth, predicted, question.bandwidths),
        "mmd_ratio": math.nan,
        "discrimination": math.nan,
        "de_overlap": math.nan,
    }
    if question.nearest_mmd > 0:
        found["mmd_ratio"] = found["mmd"] / question.nearest_mmd
    if len(question.candidates) > 1:
        found["discrimination"] = discrimination(change, question.candidates, 0)
    if min(truth.cells, predicted.cells, control.cells) > 1:
        predicted_t = _t(predicted, control)
        found["de_overlap"] = overlap(predicted_t, question.true_t, question.top)
    return found


def pool(scores: list[dict[str, float]]) -> dict[str, float]:
    """Means over responses, for `mmd_ratio` the median; scores defined nowhere are absent."""
    found = {}
    for name in dict.fromkeys(name for each in scores for name in each):
        values = torch.tensor([each[name] for each in scores if name in each], dtype=torch.float64)
        values = values[values.isfinite()]
        if len(values):
            middle = values.quantile(0.5) if name == "mmd_ratio" else values.mean()
            found[name] = float(middle)
    return found


def _t(cells: Summary, control: Summary) -> Tensor:
    return welch_t(
        cells.mean, cells.variance, cells.cells, control.mean, control.variance, control.cells
    )


def _energy(a: Summary, b: Summary) -> float:
    if not (_several(a) and _several(b)):
        return math.nan
    return float(energy_distance(a.points, b.points, x_groups=a.origin, y_groups=b.origin))


def _mmd(a: Summary, b: Summary, bandwidths: tuple[float, ...]) -> float:
    if not (bandwidths and _several(a) and _several(b)):
        return math.nan
    groups = {"x_groups": a.origin, "y_groups": b.origin}
    return float(rbf_mmd(a.points, b.points, bandwidths, **groups))


def _several(cells: Summary) -> bool:
    """Whether there are two independent points."""
    return bool((cells.origin != cells.origin[0]).any())


def _bandwidths(pooled: list[Tensor]) -> tuple[float, ...]:
    """By the median heuristic, every set of points thinned alike; empty if most are alike."""
    points = torch.cat(pooled)
    try:
        return median_bandwidths(points[spaced(len(points), 1000).to(points.device)])
    except ValueError:
        return ()
