"""What can be told of simulated outcomes: by the risk, by events, by their counts alone."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from scipy.special import expit
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import average_precision_score, roc_auc_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from weir.tasks.clinical.settings.simulator import Simulation
from weir.tasks.clinical.simulation.codes import CODES, LOADING, ORGAN_SD
from weir.tasks.clinical.simulation.events import Seen, observe, organ_keep
from weir.tasks.clinical.simulation.filter import filtered_risk
from weir.tasks.clinical.simulation.law import Ceiling, ceiling
from weir.tasks.clinical.simulation.severity import SCORE_HOURS, calibrate, draw_patients, risk_of


def expected(score: np.ndarray, risk: np.ndarray) -> Ceiling:
    """AUROC and AUPRC of a score, each record counting by its risk: no noise of the outcomes."""
    outcome = np.r_[np.ones(len(risk)), np.zeros(len(risk))]
    weight, twice = np.r_[risk, 1 - risk], np.r_[score, score]
    return Ceiling(
        roc_auc_score(outcome, twice, sample_weight=weight),
        average_precision_score(outcome, twice, sample_weight=weight),
    )


def test_the_ceiling_is_what_the_risk_attains():
    risk = np.random.default_rng(0).beta(0.5, 3, 400)
    told = ceiling(risk)
    truth = expected(risk, risk)
    assert told.auroc == pytest.approx(truth.auroc, abs=1e-9)
    assert told.auprc == pytest.approx(truth.auprc, abs=2e-3)
    assert ceiling(np.full(9, 0.3)) == Ceiling(pytest.approx(0.5), pytest.approx(0.3))


@pytest.fixture(scope="module")
def population() -> tuple[Simulation, np.ndarray, np.ndarray, Seen]:
    """Settings of a day, risks, outcomes and events of 4000 stays."""
    settings = Simulation(hours=24)
    return settings, *_draw(settings)


def _draw(settings: Simulation) -> tuple[np.ndarray, np.ndarray, Seen]:
    law, random = calibrate(settings), np.random.default_rng(11)
    patients = draw_patients(settings, 4000, random)
    risk = risk_of(patients.score, law.intercept, law.slope)
    outcome = random.random(len(risk)) < risk
    return risk, outcome, observe(settings, law, patients, random)


def counts(seen: Seen, patients: int) -> np.ndarray:
    """Events of each code, `[patient, code]`, as logs."""
    key = seen.patient * len(CODES) + seen.code
    return np.log1p(np.bincount(key, minlength=patients * len(CODES)).reshape(patients, -1))


def means(seen: Seen, patients: int) -> np.ndarray:
    """Mean value of each code, `[patient, code]`, standardised, 0 for none."""
    known = ~np.isnan(seen.value)
    key = seen.patient[known] * len(CODES) + seen.code[known]
    number = np.bincount(key, minlength=patients * len(CODES))
    total = np.bincount(key, np.log1p(seen.value[known]), patients * len(CODES))
    mean = np.where(number, total / np.maximum(number, 1), np.nan).reshape(patients, -1)
    mean = mean[:, ~np.isnan(mean).all(0)]
    return np.nan_to_num((mean - np.nanmean(mean, 0)) / np.nanstd(mean, 0))


def learnt(features: np.ndarray, outcome: np.ndarray, risk: np.ndarray) -> float:
    """Expected AUROC on the last fourth of a logistic regression on the others."""
    cut = 3 * len(risk) // 4
    model = make_pipeline(StandardScaler(), LogisticRegression(C=0.05))
    model.fit(features[:cut], outcome[:cut])
    return expected(model.predict_proba(features[cut:])[:, 1], risk[cut:]).auroc


def test_the_risk_ranks_as_well_as_asked_at_the_asked_prevalence(population):
    settings, risk, outcome, _ = population
    best = calibrate(settings).ceiling
    assert best.auroc == pytest.approx(0.889, abs=1e-3)
    assert best.auprc == pytest.approx(0.618, abs=0.02)
    assert outcome.mean() == pytest.approx(0.14, abs=0.02)
    assert roc_auc_score(outcome, risk) == pytest.approx(0.889, abs=0.025)
    other = calibrate(Simulation(hours=6, auroc=0.75, prevalence=0.4)).ceiling
    assert other.auroc == pytest.approx(0.75, abs=1e-3)


def test_counts_tell_much_and_values_more(population):
    _, risk, outcome, seen = population
    size = len(risk)
    by_counts = learnt(counts(seen, size), outcome, risk)
    by_both = learnt(np.c_[counts(seen, size), means(seen, size)], outcome, risk)
    assert by_counts == pytest.approx(0.803, abs=0.025)
    assert by_both == pytest.approx(0.874, abs=0.015)


def test_counts_tell_nothing_where_missingness_is_uninformative(population):
    settings, *_, informative = population
    risk, outcome, seen = _draw(settings.model_copy(update={"informative": False}))
    assert learnt(counts(seen, len(risk)), outcome, risk) == pytest.approx(0.5, abs=0.04)
    assert learnt(means(seen, len(risk)), outcome, risk) > 0.82
    assert len(seen.code) == pytest.approx(len(informative.code), rel=0.03)


def test_the_filter_is_between_the_counts_and_the_risk_and_calibrated(population):
    settings, *_ = population
    law, random = calibrate(settings), np.random.default_rng(2)
    patients = draw_patients(settings, 600, random)
    risk = risk_of(patients.score, law.intercept, law.slope)
    seen = observe(settings, law, patients, random)
    told = filtered_risk(
        settings.model_copy(update={"particles": 150}), law, patients, seen, np.arange(600), random
    )
    assert 0.85 < expected(told, risk).auroc < expected(risk, risk).auroc
    # Of a conditional expectation of the risk: E[risk | told] = told.
    slope, intercept = np.polyfit(told, risk, 1)
    assert slope == pytest.approx(1, abs=0.1)
    assert intercept == pytest.approx(0, abs=0.02)
    assert risk.mean() == pytest.approx(told.mean(), abs=0.015)


def test_the_filter_agrees_with_kalmans_where_that_is_exact():
    """Without shocks and informative times, severity, score and organs are jointly Gaussian."""
    settings = Simulation(hours=6, shock_rate=0, informative=False, particles=4000)
    law, random = replace(calibrate(settings), intercept=-1.0, slope=1.5), np.random.default_rng(5)
    patients = draw_patients(settings, 12, random)
    seen = observe(settings, law, patients, random)
    told = filtered_risk(settings, law, patients, seen, np.arange(12), random)
    truth = [kalman(settings, law, patients.mean[i], seen, i) for i in range(12)]
    assert np.ptp(truth) > 0.2
    assert np.abs(told - truth).max() < 0.02


def kalman(settings, law, mean: float, seen: Seen, row: int) -> float:
    """Exact risk; the state is severity, score and the organs' own parts."""
    a = math.exp(-settings.step_minutes / 60 / settings.severity_hours)
    c = math.exp(-settings.step_minutes / 60 / SCORE_HOURS)
    own, organs = organ_keep(settings), len(LOADING)
    state = np.r_[mean, mean, np.zeros(organs)]
    cov = np.diag(np.r_[0.0, 0.0, np.full(organs, ORGAN_SD**2)])
    cov[:2, :2] = 1
    move = np.diag(np.r_[a, c, np.full(organs, own)])
    move[1, 0] = (1 - c) * a
    shift = np.r_[1 - a, (1 - c) * (1 - a), np.zeros(organs)] * mean
    direction = np.r_[1, 1 - c, np.zeros(organs)]
    noise = (1 - a**2) * np.outer(direction, direction)
    noise += np.diag(np.r_[0, 0, np.full(organs, (1 - own**2) * ORGAN_SD**2)])
    for step in range(settings.steps):
        if step:
            state, cov = move @ state + shift, move @ cov @ move.T + noise
        for organ in np.flatnonzero(seen.precision[row, step]):
            precision = seen.precision[row, step, organ]
            look = np.zeros(2 + organs)
            look[0], look[2 + organ] = LOADING[organ], 1
            gain = cov @ look / (look @ cov @ look + 1 / precision)
            state = state + gain * (seen.information[row, step, organ] / precision - look @ state)
            cov = cov - np.outer(gain, look @ cov)
    nodes, weights = np.polynomial.hermite_e.hermegauss(40)
    score = state[1] + math.sqrt(cov[1, 1]) * nodes
    return float(weights @ expit(law.intercept + law.slope * score) / weights.sum())
