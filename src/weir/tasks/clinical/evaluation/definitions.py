"""The words that stand beside every score of clinical records, and what a good value is."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import partial

from weir.artifacts.evaluation import Definition

_RISK = "probability of the outcome"
_VALUES = "values standardised by the code's training mean and standard deviation"
_BINNED = "the mean value of a code in a bin of the grid's last quarter"
_AGGREGATES = "aggregates of events by code"
_SETS = "mean over the sets of all records"

_pooled = partial(Definition, pool="mean")

DEFINITIONS: dict[str, Definition] = {
    "auroc": _pooled(
        "AUROC",
        "area under the ROC curve: chance that a record with the outcome has a higher risk than "
        "one without, ties counting half",
        _RISK,
        "higher",
    ),
    "auprc": _pooled(
        "AUPRC",
        "average precision: precision at each threshold weighted by the recall it adds, not "
        "interpolated; chance is the share of records with the outcome",
        _RISK,
        "higher",
    ),
    "brier": _pooled(
        "Brier score",
        "mean squared difference of risk and outcome (0 or 1)",
        _RISK,
        "lower",
    ),
    "calibration_error": _pooled(
        "calibration error",
        "mean distance of the share with the outcome from the mean risk, over bins of equally many "
        "records; above 0 by the bins' noise even for a calibrated risk, about "
        "sqrt(2 p (1 - p) bins / (pi records))",
        _RISK,
        "lower",
    ),
    "accuracy": _pooled(
        "accuracy",
        "share of records whose risk is on the right side of one half; of a rare outcome, saying "
        "never scores 1 - its rate",
        _RISK,
        "higher",
    ),
    "nll": _pooled(
        "log loss",
        "mean negative log likelihood of the outcome, nats",
        _RISK,
        "lower",
    ),
    "temperature": _pooled(
        "temperature",
        "what logits were divided by, fitted on validation records (least log loss); above 1 the "
        "risks were too sure of themselves",
        "logits",
        1.0,
    ),
    "fill_crps": _pooled(
        "forecast CRPS",
        f"fair continuous ranked probability score, E|X - y| - E|X - X'| / 2, of {_BINNED}, "
        "forecast from the first three quarters of the grid; mean over values",
        _VALUES,
        "lower",
    ),
    "fill_energy": _pooled(
        "forecast energy score",
        "E|X - y| - E|X - X'| / 2, Euclidean norm over all forecast values of a record together; "
        "mean over records",
        _VALUES,
        "lower",
    ),
    "fill_coverage": _pooled(
        "forecast coverage 90 %",
        "share of forecast values within the 5 % to 95 % quantiles of the samples",
        _VALUES,
        0.9,
    ),
    "forecast_rmse": _pooled(
        "forecast RMSE",
        "root mean squared error of the forecast mean over the same values",
        _VALUES,
        "lower",
    ),
    "impute_crps": _pooled(
        "imputation CRPS",
        "as the forecast's, of a random fifth of the bins given the others",
        _VALUES,
        "lower",
    ),
    "impute_rmse": _pooled(
        "imputation RMSE",
        "root mean squared error of the mean over the same values",
        _VALUES,
        "lower",
    ),
    "single_crps": _pooled(
        "single values' CRPS",
        "as the forecast's, of a random fifth of the single values given all others, those at the "
        "same time as well",
        _VALUES,
        "lower",
    ),
    "single_rmse": _pooled(
        "single values' RMSE",
        "root mean squared error of the mean over the same values",
        _VALUES,
        "lower",
    ),
    "tstr_auroc": _pooled(
        "AUROC, trained on synthetic",
        "AUROC on real records of boosting trained on as many synthetic records as there are "
        "training records (at most 20000)",
        _RISK,
        "higher",
    ),
    "tstr_gap": _pooled(
        "loss by synthetic training",
        "AUROC on real records of boosting trained on real records - trained on synthetic ones",
        _RISK,
        "lower",
    ),
    "c2st_auc": _pooled(
        "two-sample AUC",
        "cross-validated AUC of boosting that tells synthetic from real training records by "
        "aggregates of their events; one half if it cannot",
        _AGGREGATES,
        0.5,
    ),
    "privacy": _pooled(
        "nearest-neighbour ratio",
        "median distance of synthetic records to the nearest training record / that of held-out "
        "records; below 1 they lie nearer to training records than new patients do",
        _AGGREGATES,
        1.0,
    ),
    "privacy_close": _pooled(
        "close neighbours",
        "share of synthetic records nearer to a training record than 95 % of held-out records are",
        _AGGREGATES,
        0.05,
    ),
    "code_gap": _pooled(
        "gap of codes",
        "mean over codes of the difference between the shares of real and of synthetic records "
        "that have the code",
        "numbers of events",
        "lower",
    ),
    "occurrence_gap": _pooled(
        "gap of co-occurrence",
        "mean over pairs of codes of the difference between the correlations of their occurrence "
        "in real and in synthetic records",
        "numbers of events",
        "lower",
    ),
    "reconstruction_gain": _pooled(
        "reconstruction gain",
        "1 - squared error of values decoded from the sets' posterior means / that of values "
        "decoded from z = 0, which knows nothing of the set",
        _VALUES,
        "higher",
    ),
    "reconstruction_rmse": _pooled(
        "reconstruction RMSE",
        "root mean squared error of values decoded from the sets' posterior means",
        _VALUES,
        "lower",
    ),
    "code_nll": _pooled(
        "log loss of codes",
        "negative log likelihood of how often each code occurs in a set (Poisson), nats a set, "
        f"decoded from the posterior mean; {_SETS}",
        "numbers of events",
        "lower",
    ),
    "active_units": _pooled(
        "active units",
        "share of latent units whose posterior mean has a variance over sets above .01 (Burda et "
        "al. 2016); 0 in a collapsed model",
        "latent",
        "higher",
    ),
    "kl": _pooled(
        "KL",
        f"divergence of the posterior from the prior, nats a set; {_SETS}; neither high nor low "
        "is good by itself",
        "latent",
        "lower",
    ),
    "mutual_information": _pooled(
        "mutual information",
        "nats that a latent tells of its set: mean log of posterior / mean posterior over at most "
        "2000 sets, so at most log 2000 = 7.6",
        "latent",
        "higher",
    ),
    "probe_auroc": _pooled(
        "AUROC of a probe",
        "AUROC of a logistic regression on the representation, fitted on training records",
        _RISK,
        "higher",
    ),
}

RISK, ENCODING = "Risk", "Encoding"
FILLING, SYNTHETIC = "Filling in and forecasting", "Synthetic patients"
"""What a model may do, each scored on its own."""

HEADLINES = ("auroc", "fill_crps", "tstr_auroc", "reconstruction_gain")
"""A model is ranked by the first of these that it has."""


def ordered(scores: Mapping[str, float]) -> dict[str, float]:
    """The scores of the table of definitions, in its order."""
    return {name: scores[name] for name in DEFINITIONS if name in scores}


def defined(scores: Iterable[str]) -> dict[str, Definition]:
    """What these scores are, in the order of the table."""
    known = set(scores)
    return {name: value for name, value in DEFINITIONS.items() if name in known}
