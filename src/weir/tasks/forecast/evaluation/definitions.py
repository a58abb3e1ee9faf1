"""The words that stand beside every score of a forecast, and what a good value is."""

from __future__ import annotations

from weir.artifacts.evaluation import Definition

_SCALE = "standardised"
_MEAN = "mean over windows, steps and variables"

DEFINITIONS: dict[str, Definition] = {
    "mse": Definition(
        "MSE", f"squared error of the model's point forecast, {_MEAN}", _SCALE, "lower"
    ),
    "mae": Definition(
        "MAE", f"absolute error of the model's point forecast, {_MEAN}", _SCALE, "lower"
    ),
    "mse_sample_mean": Definition(
        "MSE, sample mean",
        f"squared error of the samples' mean, {_MEAN}; includes their variance / samples",
        _SCALE,
        "lower",
    ),
    "mae_sample_median": Definition(
        "MAE, sample median", f"absolute error of the samples' median, {_MEAN}", _SCALE, "lower"
    ),
    "crps": Definition("CRPS", f"fair CRPS of each value, {_MEAN}", _SCALE, "lower"),
    "energy_score": Definition(
        "energy score",
        "fair energy score of the whole path (all steps and variables), mean over windows",
        _SCALE,
        "lower",
    ),
    "variogram_score": Definition(
        "variogram score",
        "fair variogram score of order 0.5, mean over pairs (one variable 1, 2, 4, 8, 16 steps or "
        "one day apart; two variables at one step) and windows",
        _SCALE,
        "lower",
    ),
    "crps_day_mean": Definition(
        "CRPS, day mean",
        "fair CRPS of each day's mean (of the whole horizon's where it is shorter), mean over "
        "windows, days and variables",
        _SCALE,
        "lower",
    ),
    "crps_increment": Definition(
        "CRPS, increments",
        "fair CRPS of the change from one step to the next within the horizon, mean over windows, "
        "changes and variables",
        _SCALE,
        "lower",
    ),
    "weighted_quantile_loss": Definition(
        "weighted quantile loss",
        "what ProbTS calls CRPS: mean quantile loss over levels .05 to .95 / sum of |truth|, over "
        "windows one horizon apart",
        "raw",
        "lower",
    ),
    "weighted_quantile_loss_sum": Definition(
        "weighted quantile loss, sum",
        "what ProbTS calls CRPS-sum: the same of the sum over variables",
        "raw",
        "lower",
    ),
    "coverage_50": Definition(
        "coverage 50 %", f"share of truths inside the central 50 % interval, {_MEAN}", "none", 0.5
    ),
    "coverage_90": Definition(
        "coverage 90 %", f"share of truths inside the central 90 % interval, {_MEAN}", "none", 0.9
    ),
    "calibration_error": Definition(
        "calibration error",
        "mean over levels .01 to .99 of |share of truths below that quantile - level|",
        "none",
        "lower",
    ),
    "spread": Definition("spread", f"root of the samples' variance, {_MEAN}", _SCALE, "lower"),
    "spread_ratio": Definition(
        "spread ratio",
        "standard deviation of all sampled values over that of all true ones",
        "none",
        1.0,
    ),
    "spread_skill": Definition(
        "spread / skill",
        "spread over the root mean squared error of the samples' mean",
        "none",
        1.0,
    ),
}
"""Every score of `weir.tasks.forecast.evaluation.scores.evaluate`, in the order of its tables."""
