"""The risk that a simulated patient's events tell: the ceiling of whoever sees events only."""

from __future__ import annotations

import numpy as np

from weir.tasks.clinical.settings.simulator import Simulation
from weir.tasks.clinical.simulation.codes import LOADING, ORGAN_SD, TOP
from weir.tasks.clinical.simulation.events import Seen, organ_keep
from weir.tasks.clinical.simulation.severity import (
    Calibration,
    Patients,
    advance,
    chances,
    follow,
    log_rates,
    risk_of,
)

GRID = np.linspace(-TOP, TOP, 601)
"""Severities at which the log chances of events are tabulated."""

PIECE = 200
"""Patients filtered at a time."""


def filtered_risk(
    settings: Simulation,
    law: Calibration,
    patients: Patients,
    seen: Seen,
    rows: np.ndarray,
    random: np.random.Generator,
) -> np.ndarray:
    """`P(outcome | static features and events until the prediction)` `[row]`, by Monte Carlo.

    A bootstrap particle filter (Gordon, Salmond, Smith 1993) of severity and score, resampled
    where less than half of the particles count. The organs' own parts are linear and Gaussian given
    the severity: each particle has their Kalman filter (Rao-Blackwell; Doucet et al. 2000). It is
    told which values are artefacts, and the step of each event rather than its second.

    Args:
        rows: `[row]` int64, which patients.
    """
    table = _log_chances(settings)
    risks = [
        _filter(settings, law, patients, seen, some, table, random)
        for some in np.split(rows, range(PIECE, len(rows), PIECE))
    ]
    return np.concatenate(risks)


def _filter(
    settings: Simulation,
    law: Calibration,
    patients: Patients,
    seen: Seen,
    rows: np.ndarray,
    table: tuple[np.ndarray, np.ndarray],
    random: np.random.Generator,
) -> np.ndarray:
    shape = len(rows), settings.particles
    if not len(rows):
        return np.zeros(0)
    centre = patients.mean[rows, None]
    severity = centre + random.standard_normal(shape)
    score = severity
    keep = organ_keep(settings)
    own = np.zeros((len(LOADING), *shape))
    variance = np.full((len(rows), len(LOADING)), ORGAN_SD**2)
    weight = np.zeros(shape)
    for step in range(settings.steps):
        if step:
            severity = advance(settings, severity, centre, random)
            score = follow(settings, score, severity)
            own *= keep
            variance = keep**2 * variance + (1 - keep**2) * ORGAN_SD**2
        if settings.informative:
            happened = seen.happened[rows, step].astype(float)
            logs = happened @ table[1] + (1 - happened) @ table[0]
            place = (np.clip(severity, -TOP, TOP) + TOP) * ((len(GRID) - 1) / (2 * TOP))
            weight += np.take_along_axis(logs, place.round().astype("int64"), 1)
        for organ, loading in enumerate(LOADING):
            precision = seen.precision[rows, step, organ]
            told = np.flatnonzero(precision)
            if not len(told):
                continue
            error = 1 / precision[told]
            state = seen.information[rows[told], step, organ] * error
            spread = variance[told, organ] + error
            off = state[:, None] - loading * severity[told] - own[organ, told]
            weight[told] -= off**2 / (2 * spread[:, None])
            own[organ, told] += (variance[told, organ] / spread)[:, None] * off
            variance[told, organ] *= error / spread
        weight -= weight.max(1, keepdims=True)
        share = np.exp(weight)
        share /= share.sum(1, keepdims=True)
        poor = np.flatnonzero(1 / (share**2).sum(1) < shape[1] / 2)
        if len(poor) and step < settings.steps - 1:
            chosen = _resample(share[poor], random)
            severity[poor] = np.take_along_axis(severity[poor], chosen, 1)
            score = score.copy()
            score[poor] = np.take_along_axis(score[poor], chosen, 1)
            for organ in range(len(LOADING)):
                own[organ, poor] = np.take_along_axis(own[organ, poor], chosen, 1)
            weight[poor] = 0
    return (share * risk_of(score, law.intercept, law.slope)).sum(1)


def _resample(share: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Particles `[row, particle]` int64 drawn by their shares, systematically."""
    rows, count = share.shape
    ends = share.cumsum(1)
    ends /= ends[:, -1:]
    # Rows one after the other, so that one search does them all.
    ends += np.arange(rows)[:, None]
    wanted = (random.random((rows, 1)) + np.arange(count)) / count + np.arange(rows)[:, None]
    found = np.searchsorted(ends.ravel(), wanted.ravel(), side="right").reshape(rows, count)
    return np.minimum(found - count * np.arange(rows)[:, None], count - 1)


def _log_chances(settings: Simulation) -> tuple[np.ndarray, np.ndarray]:
    """Log chance that each source does not and does occur, `[source, grid]` each."""
    return -np.exp(log_rates(settings, GRID)), np.log(chances(settings, GRID))
