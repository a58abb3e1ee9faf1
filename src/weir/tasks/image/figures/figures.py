"""Figures of made pictures and points: samples, how they come about, likelihoods and memories.

They read the tables that this task's evaluation writes:

| table | columns |
|---|---|
| `pictures` | kind, row, column, label, value, png |
| `bits` | item, label, bits, bits_class |
| `confusion` | asked, judged, count |
| `denoising` | sigma, mse |
| `nearest` | kind (sample, test), distance |
| `points` | kind (data, sample), x, y, label |
| `field` | sigma, x, y, u, v, log_density |

`label`, `asked` and `judged` are names of classes, tables of classes are in their order. Every
`sigma` is in units of the data's own deviation, and so is `value` of noised pictures; `mse` is a
share of the data's variance. Of `pictures` there are these kinds, `png` is a file at its own size:

| kind | row | column | value |
|---|---|---|---|
| `data` | class | one of its test pictures | |
| `sample` | class | one of its samples | |
| `noisy`, `denoise` | a test picture | a noise level, the least first | sigma |
| `trajectory` | a sample | a state on its way out of noise | noise over data |
| `neighbour` | a sample | 0: it, 1: the training picture nearest to it | distance |

`field` is a regular grid of places for each sigma with the score's direction (u, v), in the
coordinates of `points`. Pictures are those of the run with the smallest seed; curves are averaged
over seeds.
"""

from __future__ import annotations

from collections.abc import Sequence

from weir.artifacts.evaluation import Evaluation
from weir.report.drawing.figure import Figure
from weir.report.entries import entries
from weir.tasks.image.figures.confusion import confusion
from weir.tasks.image.figures.denoising import bits, denoising
from weir.tasks.image.figures.neighbours import neighbours
from weir.tasks.image.figures.samples import denoised, samples, trajectories
from weir.tasks.image.figures.toys import fields, points

HEADLINE = (
    "energy_score",
    "class_accuracy",
    "classifier_fd",
    "coverage",
    "energy_distance",
    "bits_per_dim",
    "density_gap",
    "denoising_mse_1",
)
"""Metrics of the main table; models are ranked by the first. Not every model has all of them."""


def figures(evaluations: Sequence[Evaluation]) -> list[Figure]:
    """Figures about one data set; what was not recorded is left out."""
    rows = entries(evaluations)
    made = (samples, points, trajectories, confusion)
    judged = (fields, bits, denoising, denoised, neighbours)
    found = [draw(rows) for draw in (*made, *judged)]
    return [figure for figure in found if figure is not None]
