"""Evaluation of forecasters whose scores are known in closed form."""

import math

import numpy as np
import pandas as pd
import pytest
import scoringrules
import torch
from torch import Tensor, nn

from weir.errors import WeirError
from weir.metrics.paired import paired_difference
from weir.tasks.forecast.data.schema import Scaler
from weir.tasks.forecast.data.windows import WindowSet
from weir.tasks.forecast.evaluation.definitions import DEFINITIONS
from weir.tasks.forecast.evaluation.scores import ForecastScores, evaluate
from weir.tasks.forecast.evaluation.tally import day_means, variogram_pairs

LOOKBACK, HORIZON, DAY = 4, 6, 3
SCALER = Scaler(mean=(10.0, -5.0), std=(2.0, 0.5))
COLUMNS = ("load", "heat")


class White(nn.Module):
    """Independent Gaussian samples of mean zero."""

    def __init__(self, deviation: float = 1.0) -> None:
        super().__init__()
        self.deviation = deviation

    def point(self, history: Tensor, start: Tensor) -> Tensor:
        return torch.zeros(len(history), HORIZON, history.shape[-1])

    def sample(self, history, start, samples, *, steps=None, solver=None, generator=None):
        shape = (len(history), samples, HORIZON, history.shape[-1])
        return self.deviation * torch.randn(shape, generator=generator)

    def nfe(self, steps: int | None = None, solver: str | None = None) -> int:
        return 3 if steps is None else steps


class Fixed(White):
    """Samples that depend on the window alone: nothing is left to chance."""

    def sample(self, history, start, samples, *, steps=None, solver=None, generator=None):
        wave = torch.sin(start[:, None, None] * 0.7 + torch.arange(HORIZON)[:, None] + 1.0)
        draw = torch.linspace(-1.5, 1.0, samples)[:, None, None]
        return history[:, None, -1:] + draw * (1.5 + wave[:, None])


def white_noise(windows: int) -> WindowSet:
    generator = torch.Generator().manual_seed(1)
    values = torch.randn(windows + LOOKBACK + HORIZON - 1, 2, generator=generator)
    values = (values - values.mean(0)) / values.std(0)
    return WindowSet(values, 0, len(values), LOOKBACK, HORIZON)


def scores_of(model: nn.Module, data: WindowSet, **options: object) -> ForecastScores:
    return evaluate(model, data, scaler=SCALER, columns=COLUMNS, day=DAY, **options)


@pytest.fixture(scope="module")
def perfect() -> ForecastScores:
    return scores_of(White(), white_noise(6000), samples=99)


@pytest.fixture(scope="module")
def fixed() -> ForecastScores:
    return scores_of(Fixed(), white_noise(40), samples=20, examples=3)


def test_a_perfect_forecast_of_noise_has_the_scores_of_the_formulas(perfect) -> None:
    found, half_gini = perfect.scores, 1 / math.sqrt(math.pi)
    close = {"rel": 0.02}
    assert found["crps"] == pytest.approx(half_gini, **close)
    assert found["crps_day_mean"] == pytest.approx(half_gini / math.sqrt(DAY), **close)
    assert found["crps_increment"] == pytest.approx(half_gini * math.sqrt(2), **close)
    assert found["mse"] == pytest.approx(1.0, **close)
    assert found["mae"] == pytest.approx(math.sqrt(2 / math.pi), **close)
    # E|X - y| and E|X - X'| are both sqrt(2) E|X|, of 12 coordinates
    norm = math.sqrt(2) * math.gamma(6.5) / math.gamma(6)
    assert found["energy_score"] == pytest.approx(norm / math.sqrt(2), **close)
    half_moment = 2**0.5 * math.gamma(0.75) / math.sqrt(math.pi)
    variance = 2 / math.sqrt(math.pi) - half_moment**2
    assert found["variogram_score"] == pytest.approx(variance, rel=0.04)


def test_a_perfect_forecast_of_noise_is_calibrated(perfect) -> None:
    found = perfect.scores
    assert found["coverage_50"] == pytest.approx(0.5, abs=0.01)
    assert found["coverage_90"] == pytest.approx(0.9, abs=0.01)
    for name in ("spread", "spread_ratio", "spread_skill"):
        assert found[name] == pytest.approx(1.0, abs=0.01)
    assert found["calibration_error"] < 0.01
    shares = perfect.tables["pit"]["share"]
    assert len(shares) == 20
    assert (20 * shares - 1).abs().max() < 0.08
    curves = perfect.tables["reliability"]
    assert curves["horizon"].unique().tolist() == ["1-3", "4-6"]
    assert (curves["observed"] - curves["nominal"]).abs().max() < 0.012


def test_an_overconfident_forecast_is_shown_as_such() -> None:
    found = scores_of(White(0.5), white_noise(500), samples=50).scores
    assert found["coverage_90"] < 0.65
    assert found["spread_ratio"] == pytest.approx(0.5, abs=0.02)
    assert found["calibration_error"] > 0.05


def test_every_window_is_scored_as_scoringrules_would(fixed) -> None:
    data = white_noise(40)
    batch = data.batch(torch.arange(40))
    drawn = Fixed().sample(batch.history, batch.start, 20).double()
    truth = batch.future.double()
    by_value = scoringrules.crps_ensemble(
        truth.numpy(), drawn.movedim(1, -1).numpy(), estimator="fair"
    )
    assert fixed.scores["crps"] == pytest.approx(by_value.mean(), rel=1e-5)
    table = fixed.tables["windows"]
    np.testing.assert_allclose(table["crps"], by_value.mean(axis=(1, 2)), rtol=1e-5)
    assert table["start"].tolist() == list(range(LOOKBACK, LOOKBACK + 40))
    np.testing.assert_allclose(
        fixed.tables["horizon"]["crps"], by_value.mean(axis=(0, 2)), rtol=1e-5
    )
    np.testing.assert_allclose(
        fixed.tables["variables"]["crps"], by_value.mean(axis=(0, 1)), rtol=1e-5
    )
    energy = scoringrules.es_ensemble(
        truth.flatten(1).numpy(), drawn.flatten(2).numpy(), estimator="fair"
    )
    np.testing.assert_allclose(table["energy_score"], energy, rtol=1e-5)
    assert fixed.scores["mse"] == pytest.approx(float(truth.square().mean()), rel=1e-5)
    mean = drawn.mean(dim=1)
    assert fixed.scores["mse_sample_mean"] == pytest.approx(
        float((mean - truth).square().mean()), rel=1e-5
    )
    assert fixed.scores["spread_ratio"] == pytest.approx(
        float(drawn.std(correction=0) / truth.std(correction=0)), rel=1e-5
    )
    assert fixed.scores["spread"] == pytest.approx(float(drawn.var(dim=1).mean().sqrt()), rel=1e-5)


def test_scores_do_not_depend_on_the_chunk(fixed) -> None:
    other = scores_of(Fixed(), white_noise(40), samples=20, examples=3, chunk=7 * 20 * HORIZON * 2)
    assert other.scores == pytest.approx(fixed.scores, rel=1e-5, abs=1e-3)
    for name in ("crps", "energy_score", "mse", "coverage_50", "variogram_score"):
        assert other.scores[name] == pytest.approx(fixed.scores[name], rel=1e-5)
    for name, table in fixed.tables.items():
        if name not in ("pit", "reliability"):  # randomised in another order
            pd.testing.assert_frame_equal(other.tables[name], table, rtol=1e-4)


def test_weighted_quantile_loss_is_on_the_raw_scale_a_horizon_apart(fixed) -> None:
    data = white_noise(40)
    batch = data.batch(torch.arange(0, 40, HORIZON))
    drawn = SCALER.restore(Fixed().sample(batch.history, batch.start, 20).double()).numpy()
    truth = SCALER.restore(batch.future.double()).numpy()

    def loss(samples: np.ndarray, y: np.ndarray) -> float:
        levels = np.arange(1, 20) / 20
        q = np.quantile(samples, levels, axis=1)
        pinball = np.abs((q - y) * ((y <= q) - levels.reshape(-1, *[1] * y.ndim)))
        return 2 * pinball.sum() / 19 / np.abs(y).sum()

    assert fixed.scores["weighted_quantile_loss"] == pytest.approx(loss(drawn, truth), rel=1e-5)
    assert fixed.scores["weighted_quantile_loss_sum"] == pytest.approx(
        loss(drawn.sum(-1), truth.sum(-1)), rel=1e-5
    )


def test_every_score_is_defined_and_every_definition_scored(fixed) -> None:
    assert list(fixed.scores) == list(DEFINITIONS)
    assert all(math.isfinite(value) for value in fixed.scores.values())


def test_protocol_and_cost_are_recorded(fixed) -> None:
    assert (fixed.windows, fixed.samples, fixed.nfe) == (40, 20, 3)
    assert scores_of(Fixed(), white_noise(2), samples=4, steps=7).nfe == 7
    assert fixed.latency_ms > 0 and fixed.seconds > 0


def test_fans_show_the_truth_and_the_forecast(fixed) -> None:
    fans, data = fixed.tables["fans"], white_noise(40)
    assert fans["window"].nunique() == 3
    item = int(fans["window"].iloc[0])
    one = fans[(fans["window"] == item) & (fans["variable"] == "heat")]
    np.testing.assert_allclose(one["truth"], data.values[item : item + LOOKBACK + HORIZON, 1])
    assert one["step"].tolist() == list(range(1 - LOOKBACK, HORIZON + 1))
    past, ahead = one[one["kind"] == "history"], one[one["kind"] == "future"]
    assert past["step"].max() == 0 and past["q50"].isna().all()
    assert ahead["step"].min() == 1 and (ahead["point"] == 0).all()
    names = ["q05", "q25", "q50", "q75", "q95"]
    assert (np.diff(ahead[names].to_numpy(), axis=1) > 0).all()
    batch = data.batch(torch.tensor([item]))
    drawn = Fixed().sample(batch.history, batch.start, 20)[0, :, :, 1]
    np.testing.assert_allclose(ahead[["p0", "p7"]].T, drawn[[0, 7]])


def test_reliability_is_the_coverage_of_central_intervals() -> None:
    result = scores_of(White(0.5), white_noise(2000), samples=99)
    curves = result.tables["reliability"].groupby("nominal")["observed"].mean()
    assert curves[0.9] == pytest.approx(result.scores["coverage_90"], abs=0.01)
    assert curves[0.5] == pytest.approx(result.scores["coverage_50"], abs=0.01)


def test_reliability_tells_near_from_far() -> None:
    class TooSureFarAhead(White):
        def sample(self, history, start, samples, **options):
            drawn = super().sample(history, start, samples, **options)
            return drawn * torch.tensor([1.0] * 3 + [0.3] * 3)[:, None]

    curves = scores_of(TooSureFarAhead(), white_noise(2000), samples=99).tables["reliability"]
    found = curves[curves["nominal"] == 0.9].set_index("horizon")["observed"]
    assert found["1-3"] == pytest.approx(0.9, abs=0.01)
    assert found["4-6"] == pytest.approx(math.erf(0.3 * 1.645 / math.sqrt(2)), abs=0.02)


def test_a_diverged_model_is_an_error_that_names_the_window() -> None:
    class Diverged(Fixed):
        def sample(self, history, start, samples, **options):
            drawn = super().sample(history, start, samples, **options)
            drawn[start == 9, 1, 2, 0] = math.inf
            return drawn

    with pytest.raises(WeirError, match=r"samples of 1 windows are NaN or infinite.* row 9"):
        scores_of(Diverged(), white_noise(40), samples=4)


def test_one_sample_is_refused() -> None:
    with pytest.raises(ValueError, match="at least two samples, got 1"):
        scores_of(Fixed(), white_noise(3), samples=1)


def test_progress_reaches_all_windows() -> None:
    seen: list[tuple[int, int]] = []
    size = 4 * HORIZON * 2
    scores_of(
        Fixed(), white_noise(10), samples=4, chunk=4 * size, progress=lambda *at: seen.append(at)
    )
    assert seen == [(4, 10), (8, 10), (10, 10)]


def test_day_means_leave_out_a_part_of_a_day() -> None:
    values = torch.arange(7.0)[None, None, :, None]
    assert day_means(values, 3).flatten().tolist() == [1.0, 4.0]


def test_variogram_pairs_are_lags_of_a_variable_and_variables_at_a_step() -> None:
    horizon, variables = 5, 3
    pairs = {tuple(pair) for pair in variogram_pairs(horizon, variables, (1, 2, 2, 9)).T.tolist()}
    expected = set()
    for i in range(horizon * variables):
        for j in range(i + 1, horizon * variables):
            (s, v), (t, w) = divmod(i, variables), divmod(j, variables)
            if (v == w and t - s in (1, 2)) or s == t:
                expected.add((i, j))
    assert pairs == expected


def test_the_better_of_two_forecasters_is_told_from_chance() -> None:
    data = white_noise(400)

    def by_window(deviation: float, seed: int = 0) -> pd.DataFrame:
        model = White(deviation)
        return scores_of(model, data, samples=20, seed=seed).tables["windows"]

    good, again, bad = by_window(1.0), by_window(1.0, seed=1), by_window(1.6)
    for score in ("crps", "energy_score", "crps_day_mean", "crps_increment"):
        assert paired_difference(good[score], bad[score], block=2 * HORIZON).high < 0
        same = paired_difference(good[score], again[score], block=2 * HORIZON, level=0.99)
        assert not same.significant
