"""Figures of generated cells: populations, genes, doses, held-out groups and the latent space.

They read the tables that this task's evaluation writes:

| table | columns |
|---|---|
| `responses` | response, context, condition, dose, cells, sources, and a column for each metric |
| `genes` | response, gene, control_mean, true_mean, predicted_mean, true_variance, |
| | predicted_variance, de |
| `cells` | response, kind (true, predicted, control), x, y |
| `violins` | response, gene, kind, value |
| `doses` | perturbation, context, dose, kind (true, predicted), response |
| `latent` | x, y, batch, cell_type (evaluations of stage 1) |

Cells and genes are those of the runs with the smallest seed, of every fold; doses are averaged
over seeds and folds.
"""

from __future__ import annotations

from collections.abc import Sequence

from weir.artifacts.evaluation import Evaluation
from weir.report.drawing.figure import Figure
from weir.report.entries import definitions, entries, featured
from weir.tasks.perturb.figures.cells import cells
from weir.tasks.perturb.figures.doses import doses
from weir.tasks.perturb.figures.genes import moments, shifts
from weir.tasks.perturb.figures.groups import held_out
from weir.tasks.perturb.figures.latent import latent
from weir.tasks.perturb.figures.violins import violins

HEADLINE = (
    "pearson_delta",
    "energy_distance",
    "mmd_ratio",
    "r2_mean",
    "r2_variance",
    "de_overlap",
)
"""Metrics of the main table; models are ranked by the first."""


def figures(evaluations: Sequence[Evaluation]) -> list[Figure]:
    """Figures about one data set; what was not recorded is left out."""
    rows = entries(evaluations)
    known = definitions(rows)
    metric = next((name for name in HEADLINE if name in known), None)
    found: list[Figure | None] = []
    if metric is not None:
        best = [row for row in featured(rows, metric, known[metric]) if row.kind != "ceiling"]
        found += [
            held_out(rows),
            cells(best),
            shifts(best),
            violins(best),
            moments(best),
            doses(best),
        ]
    found.append(latent(rows))
    return [figure for figure in found if figure is not None]
