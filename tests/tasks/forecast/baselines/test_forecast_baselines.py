"""Baselines on series whose errors are known."""

import math

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from scipy import stats
from torch import Tensor, nn

from weir.settings.training import Training
from weir.tasks.forecast.baselines import (
    BootstrapResidual,
    CorrelatedGaussian,
    DLinear,
    DLinearObjective,
    GaussianCopula,
    GaussianResidual,
    Head,
    Oracle,
    SeasonalNaive,
    build,
)
from weir.tasks.forecast.baselines.around_law import student_from_normal, student_table
from weir.tasks.forecast.data.schema import Scaler, Schema
from weir.tasks.forecast.data.windows import WindowSet
from weir.tasks.forecast.evaluation.scores import evaluate
from weir.tasks.forecast.representation.heads import Marginal
from weir.tasks.forecast.settings.simulator import Simulation
from weir.tasks.forecast.simulation.simulate import Simulator
from weir.training.loop import train

LOOKBACK, HORIZON, VARIABLES = 8, 4, 2
SCALER = Scaler(mean=(10.0, -5.0), std=(2.0, 0.5))
RHO = 0.8


class Zero(nn.Module):
    """A backbone that expects nothing: location 0, scale 2, t with 4 degrees of freedom."""

    def __init__(self, df: float | None = 4.0) -> None:
        super().__init__()
        self.df = df
        self.register_buffer("scale", torch.tensor(2.0))

    def forward(self, history: Tensor, start: Tensor) -> Marginal:
        loc = history.new_zeros(len(history), HORIZON, VARIABLES)
        df = None if self.df is None else torch.full_like(loc, self.df)
        return Marginal(loc, self.scale.expand_as(loc), df)

    def point(self, history: Tensor, start: Tensor) -> Tensor:
        return self(history, start).loc


def windows(values: Tensor) -> WindowSet:
    return WindowSet(values, 0, len(values), LOOKBACK, HORIZON)


def tied_noise(rows: int = 4000) -> Tensor:
    """Two variables, `[row, 2]` of variance one, correlated by RHO, independent over time."""
    white = torch.randn(rows, 2, generator=torch.Generator().manual_seed(0))
    return torch.stack([white[:, 0], RHO * white[:, 0] + math.sqrt(1 - RHO**2) * white[:, 1]], 1)


def draw(model: nn.Module, samples: int = 20_000, history: Tensor | None = None) -> Tensor:
    history = torch.zeros(1, LOOKBACK, VARIABLES) if history is None else history
    generator = torch.Generator().manual_seed(1)
    start = torch.full((len(history),), LOOKBACK)
    return model.sample(history, start, samples, generator=generator)


def schema(**changes: object) -> Schema:
    fields = {
        "task": "forecast",
        "columns": ("load", "heat"),
        "frequency": "h",
        "cycle": 4,
        "lookback": LOOKBACK,
        "horizon": HORIZON,
        "rows": 300,
        "first_time": "2024-01-01T00:00:00",
        "splits": {"train": (0, 200), "validation": (200, 250), "test": (250, 300)},
        "scaler": SCALER,
        "repairs": (),
        "source_sha256": "",
        "digest": "",
        "simulated": False,
    }
    return Schema(**fields | changes)


def test_seasonal_naive_repeats_the_cycle() -> None:
    history = torch.arange(2 * LOOKBACK * VARIABLES).reshape(2, LOOKBACK, VARIABLES).float()
    point = SeasonalNaive(VARIABLES, HORIZON, period=3).point(history, torch.zeros(2).long())
    torch.testing.assert_close(point, history[:, [-3, -2, -1, -3]])


def test_seasonal_naive_spreads_as_its_errors_did() -> None:
    """On white noise the error is a difference of two independent values: variance 2."""
    model = SeasonalNaive(VARIABLES, HORIZON, period=4).fit(windows(tied_noise(20_000)))
    drawn = draw(model)[0]
    expected = stats.norm(scale=math.sqrt(2)).ppf([0.05, 0.5, 0.95])
    found = np.quantile(drawn, [0.05, 0.5, 0.95], axis=0)
    np.testing.assert_allclose(found - expected[:, None, None], 0, atol=0.1)
    assert abs(torch.corrcoef(drawn[:, 0].T)[0, 1]) < 0.03
    assert len(drawn[:, 0, 0].unique()) > 1000  # between the stored quantiles, too


def test_seasonal_naive_needs_a_whole_cycle_of_history() -> None:
    model = SeasonalNaive(VARIABLES, HORIZON, period=9)
    with pytest.raises(ValueError, match="a cycle of 9 rows does not fit into 8"):
        model.point(torch.zeros(1, LOOKBACK, VARIABLES), torch.zeros(1).long())


def test_dlinear_is_the_two_linear_maps_of_the_paper() -> None:
    torch.manual_seed(0)
    model, history = DLinear(LOOKBACK, HORIZON), torch.randn(3, LOOKBACK, VARIABLES)
    padded = np.pad(history.numpy(), ((0, 0), (12, 12), (0, 0)), mode="edge")
    trend = np.stack([padded[:, i : i + 25].mean(axis=1) for i in range(LOOKBACK)], axis=1)
    trend = torch.from_numpy(trend)
    expected = torch.einsum("hl,blv->bhv", model.trend.weight, trend)
    expected = expected + torch.einsum("hl,blv->bhv", model.seasonal.weight, history - trend)
    expected = expected + (model.trend.bias + model.seasonal.bias)[:, None]
    torch.testing.assert_close(model(history, torch.zeros(3)), expected)


def test_dlinear_learns_a_linear_series(tmp_path) -> None:
    rows = torch.arange(400.0)
    values = torch.stack([(rows * math.pi / 4).sin(), (rows * math.pi / 2).cos()], 1)
    torch.manual_seed(0)
    objective = DLinearObjective(DLinear(LOOKBACK, HORIZON))
    settings = Training(steps=400, learning_rate=2e-2, validate_every=200, checkpoint_every=400)
    data = windows(values)
    train(objective, data, data, settings, seed=0, checkpoints=tmp_path)
    batch = data.batch(torch.arange(len(data)))
    error = objective.model.point(batch.history, batch.start) - batch.future
    assert error.square().mean() < 0.01


def test_gaussian_residual_has_the_size_of_the_errors_and_no_dependence() -> None:
    values = tied_noise() * torch.tensor([1.0, 3.0])
    model = GaussianResidual(Zero(), VARIABLES, HORIZON).fit(windows(values))
    drawn = draw(model)[0]
    torch.testing.assert_close(
        drawn.std(dim=0), torch.tensor([[1.0, 3.0]]).expand(HORIZON, 2), rtol=0.04, atol=0
    )
    assert abs(torch.corrcoef(drawn[:, 0].T)[0, 1]) < 0.03


def test_bootstrap_draws_whole_paths_of_training_errors() -> None:
    values = tied_noise(300)
    data = windows(values)
    model = BootstrapResidual(Zero(), VARIABLES, HORIZON, paths=50).fit(data)
    futures = data.batch(torch.arange(len(data))).future.flatten(1)
    drawn = draw(model, 200)[0].flatten(1)
    nearest = torch.cdist(drawn.double(), futures.double()).min(dim=1).values
    assert nearest.max() < 1e-6
    assert len(torch.unique(drawn, dim=0)) > 40


def test_bootstrap_needs_as_many_windows_as_paths() -> None:
    model = BootstrapResidual(Zero(), VARIABLES, HORIZON, paths=50)
    with pytest.raises(ValueError, match="9 windows are too few for 50"):
        model.fit(windows(tied_noise(20)))


def test_correlated_gaussian_has_the_covariance_of_the_residuals() -> None:
    model = CorrelatedGaussian(Zero(), VARIABLES, HORIZON).fit(windows(tied_noise()))
    covariance = draw(model)[0].flatten(1).T.cov()
    block = torch.tensor([[1.0, RHO], [RHO, 1.0]])
    expected = torch.block_diag(*[block] * HORIZON)
    torch.testing.assert_close(covariance, expected, rtol=0, atol=0.06)


def test_head_draws_the_backbones_law_independently() -> None:
    drawn = draw(Head(Zero()))[0]
    assert stats.kstest(drawn[:, 1, 0] / 2, stats.t(4).cdf).pvalue > 1e-3
    assert abs(stats.spearmanr(drawn[:, 0, 0], drawn[:, 0, 1]).statistic) < 0.03


@pytest.mark.parametrize("df", [4.0, None])
def test_copula_keeps_the_law_of_each_value_and_ties_them(df: float | None) -> None:
    law = stats.norm if df is None else stats.t(df)
    normal = stats.norm.cdf(tied_noise().double())
    values = torch.from_numpy(2 * law.ppf(normal)).float()
    model = GaussianCopula(Zero(df), VARIABLES, HORIZON).fit(windows(values))
    drawn = draw(model)[0]
    for step in range(HORIZON):
        assert stats.kstest(drawn[:, step, 1] / 2, law.cdf).pvalue > 1e-3
    rank = stats.spearmanr(drawn[:, 0, 0], drawn[:, 0, 1]).statistic
    assert rank == pytest.approx(6 / math.pi * math.asin(RHO / 2), abs=0.03)
    assert abs(stats.spearmanr(drawn[:, 0, 0], drawn[:, 1, 0]).statistic) < 0.05


@pytest.mark.parametrize("df", [1.0, 2.1, 3.7, 30.0, 1e6])
def test_student_variates_are_those_of_scipy(df: float) -> None:
    z = torch.linspace(-5.5, 5.5, 1001)
    found = student_from_normal(z[None], torch.tensor([df]), student_table())[0]
    lower = stats.norm.cdf(-z.abs().double().numpy())
    expected = -np.sign(z.numpy()) * stats.t.ppf(lower, df)
    np.testing.assert_allclose(found, expected, rtol=3e-4, atol=1e-6)


def test_student_variates_follow_each_values_own_tail() -> None:
    z = torch.randn(3, 5, 2, generator=torch.Generator().manual_seed(0))
    df = torch.tensor([[2.5, 4.0], [8.0, 16.0], [3.0, 100.0]])
    found = student_from_normal(z, df, student_table())
    expected = stats.t.ppf(stats.norm.cdf(z.double()), df[:, None].numpy())
    np.testing.assert_allclose(found, expected, rtol=3e-4, atol=1e-6)


@pytest.fixture(scope="module")
def simulated() -> tuple[Oracle, WindowSet, Simulator]:
    simulator = Simulator(Simulation(rows=900, variables=2, seed=3))
    raw = torch.from_numpy(simulator.generate().iloc[:, 1:].to_numpy())
    mean, std = raw.mean(0), raw.std(0, correction=0)
    scaler = Scaler(tuple(mean.tolist()), tuple(std.tolist()))
    data = WindowSet(scaler.standardise(raw).float(), 0, len(raw), LOOKBACK, HORIZON)
    return Oracle(scaler, HORIZON).fit(simulator.law), data, simulator


def test_oracle_is_calibrated_on_its_own_series(simulated) -> None:
    oracle, data, _ = simulated
    found = evaluate(oracle, data, scaler=oracle.scaler, columns=("x1", "x2"), samples=39).scores
    assert found["coverage_50"] == pytest.approx(0.5, abs=0.05)
    assert found["coverage_90"] == pytest.approx(0.9, abs=0.03)
    assert found["spread_skill"] == pytest.approx(1.0, abs=0.06)


def test_oracles_point_is_the_mean_of_its_samples(simulated) -> None:
    oracle, data, _ = simulated
    batch = data.batch(torch.arange(3))
    drawn = oracle.sample(
        batch.history, batch.start, 4000, generator=torch.Generator().manual_seed(0)
    )
    torch.testing.assert_close(
        drawn.mean(dim=1), oracle.point(batch.history, batch.start), rtol=0, atol=0.06
    )


@pytest.mark.parametrize("tails", [5.0, None])
def test_oracles_law_survives_as_tensors(tails: float | None) -> None:
    law = Simulator(Simulation(rows=300, variables=2, degrees_of_freedom=tails)).law
    assert Oracle(SCALER, HORIZON).fit(law).law().truth == law.truth


@pytest.mark.parametrize(
    "method",
    [
        "seasonal_naive",
        "dlinear",
        "gaussian",
        "bootstrap",
        "head",
        "correlated_gaussian",
        "head_copula",
    ],
)
def test_a_baseline_is_whole_in_its_saved_state(method: str, tmp_path) -> None:
    """Fit, save, build again, load: the same draws, of the promised shape."""
    described = schema()
    data = windows(tied_noise(200))
    backbone = None if method == "dlinear" else Zero()
    fitted = build(method, described, backbone).fit(data)
    save_file(fitted.state_dict(), tmp_path / "model.safetensors")
    torch.manual_seed(9)
    restored = build(method, described, backbone)
    restored.load_state_dict(load_file(tmp_path / "model.safetensors"))
    history = tied_noise(300)[:24].reshape(3, LOOKBACK, VARIABLES)
    one, other = draw(fitted, 6, history), draw(restored, 6, history)
    assert one.shape == (3, 6, HORIZON, VARIABLES)
    assert one.isfinite().all() and one.std() > 0.1
    assert torch.equal(one, other)
    point = restored.point(history, torch.full((3,), LOOKBACK))
    assert point.shape == (3, HORIZON, VARIABLES)
    assert restored.nfe(5, "heun") == (0 if method == "seasonal_naive" else 1)
    assert not any(parameter.requires_grad for parameter in restored.parameters())


def test_a_baseline_that_needs_a_backbone_says_so() -> None:
    with pytest.raises(ValueError, match="'head_copula' is unknown, or needs a backbone"):
        build("head_copula", schema())
    with pytest.raises(ValueError, match="unknown baseline 'prophet'"):
        build("prophet", schema(), Zero())
