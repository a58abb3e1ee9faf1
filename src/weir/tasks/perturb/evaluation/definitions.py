"""The words that stand beside every score of predicted cells, and what a good value is."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import partial

from weir.artifacts.evaluation import Definition

_SCALE = "log1p of counts at one library"
_SPACE = "PCA coordinates (fitted on training cells) of log1p of counts at one library"
_MEAN = "mean over responses (a context under a condition)"

_pooled = partial(Definition, pool="mean")

DEFINITIONS: dict[str, Definition] = {
    "pearson_delta": _pooled(
        "Pearson delta",
        "correlation over genes of the predicted mean - control mean with the true mean - control "
        f"mean, control cells of the same context; {_MEAN}",
        _SCALE,
        "higher",
    ),
    "pearson_delta_perturbed": _pooled(
        "Pearson delta, perturbed reference",
        "the same with another reference: the mean under the condition over the other training "
        "contexts, each alike (over all perturbed training groups where it is unseen); 0 where "
        f"the prediction is the reference; {_MEAN}",
        _SCALE,
        "higher",
    ),
    "r2_mean": _pooled(
        "R² of means",
        "coefficient of determination over genes, 1 - sum (predicted - true)^2 / sum (true - mean "
        f"of the true)^2, of the genes' means; {_MEAN}",
        _SCALE,
        "higher",
    ),
    "r2_variance": _pooled(
        "R² of variances",
        f"the same of the genes' unbiased variances over cells; {_MEAN}",
        _SCALE,
        "higher",
    ),
    "energy_distance": _pooled(
        "energy distance",
        "2 E|X - Y| - E|X - X'| - E|Y - Y'| of true and predicted cells, Euclidean norm, "
        "U-statistic, pairs of cells made from the same one left out; at most 2000 cells a side; "
        f"{_MEAN}",
        _SPACE,
        "lower",
    ),
    "mmd": _pooled(
        "MMD²",
        "unbiased squared maximum mean discrepancy of true and predicted cells, mean of three "
        "Gaussian kernels with bandwidths .5, 1 and 2 times the median distance of true cells and "
        f"training cells under the condition; at most 2000 cells a side; {_MEAN}",
        _SPACE,
        "lower",
    ),
    "mmd_ratio": _pooled(
        "MMD ratio",
        "MMD² of true and predicted cells / the least MMD² of true cells and one training "
        "context's cells under the condition; median over responses",
        _SPACE,
        "lower",
        pool="median",
    ),
    "discrimination": _pooled(
        "discrimination",
        "1 - share of other true changes (mean - control mean) that are nearer to the predicted "
        "change than the own one, L1 distance; others are the context's other conditions, or the "
        f"training contexts under the condition where there is just one; chance is .5; {_MEAN}",
        _SCALE,
        "higher",
    ),
    "de_overlap": _pooled(
        "DE overlap",
        "share of the truth's 50 most differential genes (a quarter of all where that is less; "
        "Welch's t against control) that are among the predicted ones with the same sign; "
        f"{_MEAN}",
        _SCALE,
        "higher",
    ),
    "counterfactual_error": _pooled(
        "counterfactual error",
        "root mean squared error over genes of the mean shift of edited cells against that of the "
        "exact twins of their source cells / that of no change; simulated data only",
        _SCALE,
        "lower",
    ),
    "counterfactual_error_cells": _pooled(
        "counterfactual error, cells",
        "the same cell by cell; a cell that is drawn errs by its own noise as well, so this "
        "favours predictions that are averages; simulated data only",
        _SCALE,
        "lower",
    ),
    "nll": _pooled(
        "negative log likelihood",
        "negative log of the negative binomial of each count, latents drawn from the posterior, "
        "mean over genes and cells of the split",
        "counts, nats",
        "lower",
    ),
    "reconstruction": _pooled(
        "reconstruction",
        "1 - squared error of decoded expression / squared distance from the genes' means, over "
        "genes and cells of the split; of a stage 1 that makes no counts",
        _SCALE,
        "higher",
    ),
    "batch_auc": _pooled(
        "batch AUC of z_int",
        "area under the curve of a cross-validated classifier (a small network) of the batch on "
        "z_int, one batch against the rest, within cells of one cell type and condition; "
        "mean over batches",
        "none",
        0.5,
    ),
    "batch_auc_expression": _pooled(
        "batch AUC of expression",
        "the same on the PCA coordinates of expression: what there was to remove",
        "none",
        0.5,
    ),
    "cell_type_accuracy": _pooled(
        "cell type accuracy",
        "share of cells whose type a cross-validated logistic regression on z_int finds",
        "none",
        "higher",
    ),
}
"""Every score of the task, in the order of its tables."""

HEADLINE = "pearson_delta"


def ordered(scores: Mapping[str, float]) -> dict[str, float]:
    """The scores of the table of definitions, in its order."""
    return {name: scores[name] for name in DEFINITIONS if name in scores}


def defined(scores: Iterable[str]) -> dict[str, Definition]:
    """What these scores are, in the order of the table."""
    known = set(scores)
    return {name: value for name, value in DEFINITIONS.items() if name in known}
