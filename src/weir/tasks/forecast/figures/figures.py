"""Figures of a forecast: fans over the truth, calibration, and scores along the horizon.

They read the tables that this task's evaluation writes:

| table | columns |
|---|---|
| `fans` | window, variable, step, kind, truth, q05, q25, q50, q75, q95, p0 ... (sample paths) |
| `pit` | bin, share |
| `reliability` | nominal, observed, and optionally horizon (a label such as "1-24") |
| `horizon` | step, crps, mse, coverage_50, coverage_90 |
| `windows` | start, crps, energy_score, mse, crps_day_mean, crps_increment |

`kind` is "history" (only `truth`, steps up to 0) or "future" (steps from 1). Fans are those of the
run with the smallest seed; the other tables are averaged over seeds.
"""

from __future__ import annotations

from collections.abc import Sequence

from weir.artifacts.evaluation import Evaluation
from weir.report.drawing.figure import Figure
from weir.report.entries import definitions, entries, featured
from weir.tasks.forecast.figures.calibration import pit, reliability
from weir.tasks.forecast.figures.fans import fans
from weir.tasks.forecast.figures.horizon import along_horizon
from weir.tasks.forecast.figures.paired import paired

HEADLINE = ("crps", "energy_score", "mse", "mae", "coverage_50", "coverage_90")
"""Metrics of the main table; models are ranked by the first."""


def figures(evaluations: Sequence[Evaluation]) -> list[Figure]:
    """Figures about one data set; what was not recorded is left out."""
    rows = entries(evaluations)
    known = definitions(rows)
    if "crps" not in known:
        return []
    best = featured(rows, "crps", known["crps"])
    wide = featured(rows, "crps", known["crps"], per_kind=2)
    drawn = [paired(rows), fans(best), pit(best), reliability(best), along_horizon(wide)]
    return [figure for figure in drawn if figure is not None]
