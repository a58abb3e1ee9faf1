"""The words that stand beside every score of predicted cells, and what a good value is."""

from __future__ import annotations

from typing import Literal, NamedTuple


class Definition(NamedTuple):
    """What a score is.

    Attributes:
        label: name in tables.
        definition: how it is computed, in a sentence.
        scale: of the values it is computed from.
        better: `lower`, `higher`, or the value of a perfect prediction.
        pool: how responses and held-out groups become one number.
    """

    label: str
    definition: str
    scale: str
    better: Literal["lower", "higher"] | float
    pool: Literal["mean", "median"] = "mean"


_SCALE = "log1p of counts at one library"
_SPACE = "PCA coordinates (fitted on training cells) of log1p of counts at one library"
_MEAN = "mean over responses (a context under a condition)"

DEFINITIONS: dict[str, Definition] = {
    "pearson_delta": Definition(
        "Pearson delta",
        "correlation over genes of the predicted mean - control mean with the true mean - control "
        f"mean, control cells of the same context; {_MEAN}",
        _SCALE,
        "higher",
    ),
    "pearson_delta_perturbed": Definition(
        "Pearson delta, perturbed reference",
        "the same with another reference: the mean under the condition over the other training "
        "contexts, each alike (over all perturbed training groups where it is unseen); 0 where "
        f"the prediction is the reference; {_MEAN}",
        _SCALE,
        "higher",
    ),
    "r2_mean": Definition(
        "R² of means",
        "coefficient of determination over genes, 1 - sum (predicted - true)^2 / sum (true - mean "
        f"of the true)^2, of the genes' means; {_MEAN}",
        _SCALE,
        "higher",
    ),
    "r2_variance": Definition(
        "R² of variances",
        f"the same of the genes' unbiased variances over cells; {_MEAN}",
        _SCALE,
        "higher",
    ),
    "energy_distance": Definition(
        "energy distance",
        "2 E|X - Y| - E|X - X'| - E|Y - Y'| of true and predicted cells, Euclidean norm, "
        "U-statistic, pairs of cells made from the same one left out; at most 2000 cells a side; "
        f"{_MEAN}",
        _SPACE,
        "lower",
    ),
    "mmd": Definition(
        "MMD²",
        "unbiased squared maximum mean discrepancy of true and predicted cells, mean of three "
        "Gaussian kernels with bandwidths .5, 1 and 2 times the median distance of true cells and "
        f"training cells under the condition; at most 2000 cells a side; {_MEAN}",
        _SPACE,
        "lower",
    ),
    "mmd_ratio": Definition(
        "MMD ratio",
        "MMD² of true and predicted cells / the least MMD² of true cells and one training "
        "context's cells under the condition; median over responses",
        _SPACE,
        "lower",
        "median",
    ),
    "discrimination": Definition(
        "discrimination",
        "1 - share of other true changes (mean - control mean) that are nearer to the predicted "
        "change than the own one, L1 distance; others are the context's other conditions, or the "
        f"training contexts under the condition where there is just one; chance is .5; {_MEAN}",
        _SCALE,
        "higher",
    ),
    "de_overlap": Definition(
        "DE overlap",
        "share of the truth's 50 most differential genes (a quarter of all where that is less; "
        "Welch's t against control) that are among the predicted ones with the same sign; "
        f"{_MEAN}",
        _SCALE,
        "higher",
    ),
    "counterfactual_error": Definition(
        "counterfactual error",
        "root mean squared error over genes of the mean shift of edited cells against that of the "
        "exact twins of their source cells / that of no change; simulated data only",
        _SCALE,
        "lower",
    ),
    "counterfactual_error_cells": Definition(
        "counterfactual error, cells",
        "the same cell by cell; a cell that is drawn errs by its own noise as well, so this "
        "favours predictions that are averages; simulated data only",
        _SCALE,
        "lower",
    ),
    "nll": Definition(
        "negative log likelihood",
        "negative log of the negative binomial of each count, latents drawn from the posterior, "
        "mean over genes and cells of the split",
        "counts, nats",
        "lower",
    ),
    "reconstruction": Definition(
        "reconstruction",
        "1 - squared error of decoded expression / squared distance from the genes' means, over "
        "genes and cells of the split; of a stage 1 that makes no counts",
        _SCALE,
        "higher",
    ),
    "batch_auc": Definition(
        "batch AUC of z_int",
        "area under the curve of a cross-validated classifier (a small network) of the batch on "
        "z_int, one batch against the rest, within cells of one cell type and condition; "
        "mean over batches",
        "none",
        0.5,
    ),
    "batch_auc_expression": Definition(
        "batch AUC of expression",
        "the same on the PCA coordinates of expression: what there was to remove",
        "none",
        0.5,
    ),
    "cell_type_accuracy": Definition(
        "cell type accuracy",
        "share of cells whose type a cross-validated logistic regression on z_int finds",
        "none",
        "higher",
    ),
}
"""Every score of the task, in the order of its tables."""

HEADLINE = "pearson_delta"
