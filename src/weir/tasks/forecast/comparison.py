"""Whether one forecaster beats another: paired differences over the same windows."""

from __future__ import annotations

from dataclasses import asdict

import pandas as pd

from weir.metrics.paired import paired_difference

COMPARED = (
    "crps",
    "energy_score",
    "mse",
    "mae",
    "variogram_score",
    "crps_day_mean",
    "crps_increment",
)


def compare(
    a: pd.DataFrame,
    b: pd.DataFrame,
    *,
    horizon: int,
    scores: tuple[str, ...] = COMPARED,
    level: float = 0.95,
    seed: int = 0,
) -> pd.DataFrame:
    """Differences `a - b` of two evaluations, negative where `a` is better.

    Windows that share steps are resampled together, in runs of two horizons.

    Args:
        a: table `windows` of one evaluation (see `ForecastScores.tables`).
        b: that of the other, of the same windows.
        horizon: steps of a forecast.
        scores: columns to compare.
        level: probability that the intervals are meant to hold.
        seed: of the bootstrap.

    Returns:
        one row per score: `score`, `mean`, `low`, `high`, `relative`, `level`, `block`,
        `significant`.
    """
    if not a["start"].equals(b["start"]):
        raise ValueError("the two evaluations scored different windows and cannot be paired")
    rows = []
    for score in scores:
        found = paired_difference(a[score], b[score], block=2 * horizon, level=level, seed=seed)
        rows.append({"score": score, **asdict(found), "significant": found.significant})
    return pd.DataFrame(rows)
