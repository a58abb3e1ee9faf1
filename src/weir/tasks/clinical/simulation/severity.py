"""Latent severity of simulated patients, and the risk of the outcome that it means."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from weir.tasks.clinical.settings.simulator import Simulation
from weir.tasks.clinical.simulation.codes import (
    AGE_EFFECT,
    AGE_MEAN,
    AGE_SD,
    ICU_SHARE,
    ICU_SHIFT,
    SOURCES,
    TOP,
)
from weir.tasks.clinical.simulation.law import Ceiling, ceiling

SCORE_HOURS = 16.0
"""The risk follows the mean severity, weighted by exp(-hours before the prediction / this)."""

REFERENCE = 20_000
"""Patients of the population that a law is adjusted to; drawn from the seed, and nobody's data."""

THIN = 10
"""One of so many of its ordered scores is enough to adjust the law."""


@dataclass(frozen=True)
class Patients:
    """Static features, severities and scores.

    Attributes:
        age: `[patient]` years.
        female: `[patient]` bool.
        icu: `[patient]` int64, type of unit counted from 0.
        mean: `[patient]` mean severity of the patient's kind.
        severity: `[patient, step]`.
        score: `[patient]` weighted mean of the severity, which the risk follows.
    """

    age: np.ndarray
    female: np.ndarray
    icu: np.ndarray
    mean: np.ndarray
    severity: np.ndarray
    score: np.ndarray


@dataclass(frozen=True)
class Calibration:
    """The numbers of a law that are adjusted to a population.

    Attributes:
        intercept: of the logit of the risk.
        slope: by one unit of the score.
        ceiling: of the risk itself, in the population: no score can do better.
        chance: by source, the mean chance of one in a step.
    """

    intercept: float
    slope: float
    ceiling: Ceiling
    chance: tuple[float, ...]


def draw_patients(settings: Simulation, count: int, random: np.random.Generator) -> Patients:
    """Patients with their severities.

    Severity is an Ornstein-Uhlenbeck process around the mean of the patient's age and unit,
    `s' = mean + a (s - mean) + sqrt(1 - a^2) normal + shock`, begun where it rests, without shocks.
    """
    age = np.clip(AGE_MEAN + AGE_SD * random.standard_normal(count), 18, 95).round()
    female = random.random(count) < 0.44
    icu = np.searchsorted(np.cumsum(ICU_SHARE)[:-1], random.random(count), side="right")
    mean = AGE_EFFECT * (age - AGE_MEAN) / AGE_SD + np.array(ICU_SHIFT)[icu]
    severity = np.empty((count, settings.steps))
    state = mean + random.standard_normal(count)
    score = state
    for step in range(settings.steps):
        if step:
            state = advance(settings, state, mean, random)
            score = follow(settings, score, state)
        severity[:, step] = state
    return Patients(age, female, icu, mean, severity, score)


def advance(
    settings: Simulation, state: np.ndarray, mean: np.ndarray, random: np.random.Generator
) -> np.ndarray:
    """Severity one step later, of the shape of `state`; `mean` is broadcast to it."""
    keep = math.exp(-settings.step_minutes / 60 / settings.severity_hours)
    moved = mean + keep * (state - mean)
    moved += math.sqrt(1 - keep**2) * random.standard_normal(state.shape)
    chance = -math.expm1(-settings.shock_rate * settings.step_minutes / 1440)
    struck = random.random(state.shape) < chance
    moved[struck] += settings.shock_size * random.exponential(size=int(struck.sum()))
    return moved


def follow(settings: Simulation, score: np.ndarray, state: np.ndarray) -> np.ndarray:
    """The score after one more step."""
    keep = math.exp(-settings.step_minutes / 60 / SCORE_HOURS)
    return keep * score + (1 - keep) * state


def log_rates(settings: Simulation, severity: np.ndarray) -> np.ndarray:
    """Log of the expected events of each source in a step, `[source, ...]`, if informative."""
    factor = {"visit": settings.visits, "panel": settings.panels, "treatment": 1.0}
    bent = np.clip(severity, -TOP, TOP)
    return np.stack(
        [
            math.log(s.per_day * factor[s.kind] * settings.step_minutes / 1440) + s.gain * bent
            for s in SOURCES
        ]
    )


def chances(settings: Simulation, severity: np.ndarray) -> np.ndarray:
    """Chance that each source occurs in a step, `[source, ...]`, if informative."""
    return -np.expm1(-np.exp(log_rates(settings, severity)))


def calibrate(settings: Simulation) -> Calibration:
    """The law whose outcome has the prevalence and the AUROC that are asked for."""
    random = np.random.default_rng([settings.seed, 1])
    patients = draw_patients(settings, REFERENCE, random)
    quantiles = np.sort(patients.score)[THIN // 2 :: THIN]
    low, high = 0.0, 64.0
    for _ in range(40):
        slope = (low + high) / 2
        best = ceiling(risk_of(quantiles, _intercept(quantiles, slope, settings), slope))
        low, high = (slope, high) if best.auroc < settings.auroc else (low, slope)
    slope = (low + high) / 2
    intercept = _intercept(quantiles, slope, settings)
    best = ceiling(risk_of(patients.score, intercept, slope))
    chance = chances(settings, patients.severity[::THIN]).mean((1, 2))
    return Calibration(intercept, slope, best, tuple(map(float, chance)))


def risk_of(score: np.ndarray, intercept: float, slope: float) -> np.ndarray:
    """Probability of the outcome, by the score."""
    return 1 / (1 + np.exp(-np.clip(intercept + slope * score, -60, 60)))


def _intercept(score: np.ndarray, slope: float, settings: Simulation) -> float:
    low, high = -200.0, 200.0
    for _ in range(50):
        middle = (low + high) / 2
        share = risk_of(score, middle, slope).mean()
        low, high = (middle, high) if share < settings.prevalence else (low, middle)
    return (low + high) / 2
