"""The simulated law: closed forms where they exist, calibration where they do not."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch
from scipy import stats

from weir.errors import UserError
from weir.tasks.forecast.settings.simulator import Simulation
from weir.tasks.forecast.simulation.simulate import Law, Simulator, draw_truth, simulate, unit_noise

PLAIN = {"degrees_of_freedom": None, "busy": 1.0, "stress": 1.0, "jump": 0.0}
"""Settings that leave a Gaussian VAR(1) around trend and cycles."""


def paths(settings: Simulation, rows: int, seed: int) -> torch.Tensor:
    return Simulator(settings).law.generate(rows, torch.Generator().manual_seed(seed))


def test_gaussian_oracle_has_the_moments_of_a_var():
    settings = Simulation(**PLAIN, variables=3)
    law = Simulator(settings).law
    truth = law.truth
    series = paths(settings, 50, 0)
    start, horizon = torch.tensor([50]), 6
    draws = law.oracle_sample(
        series[None], start, 200_000, horizon, torch.Generator().manual_seed(1)
    )[0]
    transition, factor = np.array(truth.transition), np.array(truth.factor)
    unit, level = np.array(truth.unit), np.array(truth.level)
    cycle, slope = np.array(truth.cycle), np.array(truth.slope)
    state = (series[-1].numpy() - level) / unit - slope * 49 - cycle[49]
    covariance = np.zeros((3, 3))
    for lead in range(horizon):
        state = transition @ state
        covariance = transition @ covariance @ transition.T + factor @ factor.T
        row = 50 + lead
        mean = level + unit * (slope * row + cycle[row % 168] + state)
        exact = np.outer(unit, unit) * covariance
        error = np.sqrt(np.diag(exact) / len(draws))
        sample = draws[:, lead].numpy()
        assert (np.abs(sample.mean(0) - mean) < 5 * error).all()
        np.testing.assert_allclose(np.cov(sample.T) / np.outer(unit, unit), covariance, atol=0.05)
        np.testing.assert_allclose(
            law.oracle_mean(series[None], start, horizon)[0, lead].numpy(), mean, rtol=1e-9
        )


def test_gaussian_oracle_has_the_covariance_between_leads_of_a_var():
    settings = Simulation(**PLAIN, variables=2)
    law = Simulator(settings).law
    history = paths(settings, 30, 0)[None]
    draws = law.oracle_sample(
        history, torch.tensor([30]), 200_000, 2, torch.Generator().manual_seed(1)
    )[0] / torch.tensor(law.truth.unit)
    centred = draws - draws.mean(0)
    crossed = (centred[:, 1].T @ centred[:, 0] / len(draws)).numpy()
    factor = np.array(law.truth.factor)
    exact = np.array(law.truth.transition) @ factor @ factor.T
    np.testing.assert_allclose(crossed, exact, atol=0.03)


def test_the_exact_mean_holds_with_tails_regimes_and_jumps():
    law = Simulator(Simulation()).law
    history = paths(Simulation(), 100, 3)[None]
    start = torch.tensor([100])
    draws = law.oracle_sample(history, start, 100_000, 12, torch.Generator().manual_seed(0))[0]
    error = draws.std(0) / len(draws) ** 0.5
    assert ((draws.mean(0) - law.oracle_mean(history, start, 12)[0]).abs() < 5 * error).all()


def pit(law: Law, series: torch.Tensor, start: torch.Tensor, statistic) -> float:
    """P-value of uniform ranks of generated futures among oracle samples of them."""
    horizon, members = 8, 49
    future = series[start[:, None] + torch.arange(horizon)]
    draws = law.oracle_sample(
        series[start - 1][:, None], start, members, horizon, torch.Generator().manual_seed(8)
    )
    ranks = (statistic(draws) < statistic(future)[:, None]).sum(1)
    counts = torch.bincount(ranks, minlength=members + 1).reshape(10, -1).sum(1)
    return float(stats.chisquare(counts.numpy()).pvalue)


STATISTICS = {
    "first step": lambda x: x[..., 0, 0],
    "last step": lambda x: x[..., -1, 0],
    "difference of variables": lambda x: x[..., 0].mean(-1) - x[..., 2].mean(-1),
    "largest increment": lambda x: (x[..., 1:, 0] - x[..., :-1, 0]).abs().amax(-1),
    "product": lambda x: x[..., -1, 0] * x[..., -1, 1],
}


@pytest.fixture(scope="module")
def series() -> torch.Tensor:
    return paths(Simulation(), 5000, 7)


@pytest.mark.parametrize("statistic", STATISTICS)
def test_generated_futures_are_draws_of_the_oracle(series, statistic):
    start = torch.arange(1, 4990, 17)  # 17 and 24 are coprime: every hour of the day occurs.
    law = Simulator(Simulation()).law
    assert pit(law, series, start, STATISTICS[statistic]) > 1e-3


def test_the_jump_hour_alone_is_calibrated_and_a_law_without_jumps_is_not(series):
    start = torch.arange(6, 4990, 24)
    first = STATISTICS["first step"]
    assert pit(Simulator(Simulation()).law, series, start, first) > 1e-3
    assert pit(Simulator(Simulation(jump=0.0)).law, series, start, first) < 1e-9


def test_a_jump_makes_the_future_two_humped():
    law = Simulator(Simulation(jump_probability=1.0)).law
    history = law._level[None, None].expand(1, 1, 4) + law._unit * law.regular(torch.tensor([5]))
    draws = law.oracle_sample(
        history, torch.tensor([6]), 4000, 1, torch.Generator().manual_seed(0)
    )[0, :, 0]
    z = law.residual(draws, torch.tensor(6)) @ law._direction / law._direction.square().sum()
    middle, humps = (z.abs() < 1).sum(), (z.abs() > 2).sum()
    assert humps > 10 * middle
    assert abs((z > 0).double().mean() - 0.5) < 0.03


def test_the_scale_follows_hour_and_last_residual():
    settings = Simulation(**(PLAIN | {"busy": 2.0, "stress": 3.0}), variables=2)
    law = Simulator(settings).law
    calm, stressed = torch.zeros(2).double(), 5 * law._direction
    generator = torch.Generator().manual_seed(0)
    for last, hour, factor in (
        (calm, 7, 1.0),
        (calm, 8, 2.0),
        (calm, 19, 2.0),
        (calm, 20, 1.0),
        (stressed, 7, 3.0),
        (stressed, 12, 6.0),
        (-stressed, 7, 1.0),
    ):
        residual = law._step(last.expand(50_000, 2), torch.tensor(hour), generator)
        assert residual.std(0).numpy() == pytest.approx([factor, factor], rel=0.02)


@pytest.mark.parametrize("nu", [3.0, 5.0, 30.0])
def test_noise_is_student_t_of_unit_variance(nu):
    noise = unit_noise(torch.Size([20_000]), nu, torch.Generator().manual_seed(0)).numpy()
    scale = ((nu - 2) / nu) ** 0.5
    assert stats.kstest(noise / scale, stats.t(nu).cdf).pvalue > 1e-3


def test_a_series_is_a_function_of_its_settings(tmp_path):
    first, second = tmp_path / "first", tmp_path / "second"
    for folder in (first, second):
        folder.mkdir()
        assert simulate(Simulation(rows=200), folder) == ["simulated.csv", "truth.json"]
    for name in ("simulated.csv", "truth.json"):
        assert (first / name).read_bytes() == (second / name).read_bytes()
    other = Simulator(Simulation(rows=200, seed=1)).generate()
    assert not np.allclose(other["x1"], pd.read_csv(first / "simulated.csv")["x1"])


def test_the_law_survives_the_disk(tmp_path):
    law = Simulator(Simulation()).law
    law.save(tmp_path)
    assert Law.load(tmp_path).truth == law.truth == draw_truth(Simulation())
    (tmp_path / "truth.json").write_text("{}")
    with pytest.raises(UserError, match="damaged"):
        Law.load(tmp_path)
    (tmp_path / "truth.json").unlink()
    with pytest.raises(UserError, match="only for a simulated dataset"):
        Law.load(tmp_path)


def test_the_table_is_hourly_from_a_monday():
    frame = Simulator(Simulation(rows=200, variables=2)).generate()
    assert list(frame.columns) == ["date", "x1", "x2"]
    assert frame.date[0] == pd.Timestamp("2024-01-01")
    assert frame.date.diff()[1:].eq(pd.Timedelta("1h")).all()
    assert np.isfinite(frame[["x1", "x2"]].to_numpy()).all()
