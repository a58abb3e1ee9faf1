"""Figures of clinical models: risks, subgroups, filling in, synthetic records, latents, training.

They read the tables that this task's evaluation writes:

| table | columns |
|---|---|
| `scores` | metric, value, low, high |
| `subgroups` | subgrouping, group, records, positives, metric, value, low, high, note |
| `reliability` | predicted, observed, low, high, records |
| `roc` | false_positive_rate, sensitivity, low, high |
| `precision_recall` | recall, precision, low, high |
| `units` | unit, kl, variance_of_mean, mean_variance, active (evaluations of stage 1) |
| `latent_correlation` | unit, other, correlation |
| `codes` | code, description, seen, expected, values, rmse, rmse_without, sd |
| `latent` | x, y, outcome |
| `losses` | the history of training |
| `filled`, `filled_codes` | see `fill_quality` |
| `synthetic_codes`, `synthetic_values`, `synthetic_distances` | see `synthetic_quality` |
"""

from __future__ import annotations

from collections.abc import Sequence

from weir.artifacts.evaluation import Evaluation
from weir.report.drawing.figure import Figure
from weir.report.entries import entries
from weir.tasks.clinical.evaluation.definitions import FILLING, RISK, SYNTHETIC
from weir.tasks.clinical.figures.filling import filled_codes, filling
from weir.tasks.clinical.figures.intervals import intervals, operating
from weir.tasks.clinical.figures.latent import codes, latent
from weir.tasks.clinical.figures.reliability import reliability
from weir.tasks.clinical.figures.subgroups import subgroups
from weir.tasks.clinical.figures.synthetic import synthetic
from weir.tasks.clinical.figures.training import monitor, training

FAMILIES = {
    RISK: ("auroc", "auprc", "brier", "calibration_error", "nll"),
    FILLING: ("fill_crps", "fill_energy", "forecast_rmse", "impute_rmse", "single_rmse"),
    SYNTHETIC: ("tstr_auroc", "tstr_gap", "c2st_auc", "privacy"),
}
"""Metrics of each main table; models are ranked by the first that one of them has."""

HEADLINE = FAMILIES[RISK]


def figures(evaluations: Sequence[Evaluation]) -> list[Figure]:
    """Figures about one data set; what was not recorded is left out."""
    rows = entries(evaluations)
    risks = (intervals, operating, reliability, subgroups)
    made = (filling, filled_codes, synthetic)
    drawn = (*risks, *made, latent, codes, monitor, training)
    found = [draw(rows) for draw in drawn]
    return [figure for figure in found if figure is not None]
