import pytest
import torch

from weir.tasks.forecast.data.windows import WindowSet
from weir.tasks.forecast.representation.heads import LinearForecaster

LOOKBACK, HORIZON = 8, 5
LIGHT = {"window": 1e-6, "level": 1e-6, "phase": 1e-6}


def windows(values: torch.Tensor) -> WindowSet:
    return WindowSet(values.float(), 0, len(values), LOOKBACK, HORIZON)


def noise(rows: int, variables: int) -> torch.Tensor:
    return torch.randn(rows, variables, generator=torch.Generator().manual_seed(5))


def error(model: LinearForecaster, data: WindowSet) -> torch.Tensor:
    """Mean squared error by variable."""
    batch = data.batch(torch.arange(len(data)))
    return (model(batch.history, batch.start) - batch.future).square().mean((0, 1))


def test_unfitted_it_forecasts_the_mean_of_the_window():
    batch = windows(noise(40, 2)).batch(torch.arange(6))
    model = LinearForecaster(2, LOOKBACK, HORIZON, period=4)
    expected = batch.history.mean(1, keepdim=True).expand(-1, HORIZON, -1)
    assert torch.equal(model(batch.history, batch.start), expected)


def test_each_variable_learns_its_own_law():
    rows = torch.arange(200.0)
    data = windows(torch.stack([torch.sin(0.7 * rows), torch.cos(0.3 * rows)], dim=1))
    model = LinearForecaster(2, LOOKBACK, HORIZON, period=None)
    model.fit(data, **LIGHT)
    assert error(model, data).max() < 1e-4


def test_the_phase_makes_a_cycle_that_the_window_does_not_show():
    # Weeks of 12 with one spike; a window of 8 often has none, so only the phase can tell.
    values = torch.zeros(240, 1)
    values[::12] = 1.0
    data = windows(values)
    blind = LinearForecaster(1, LOOKBACK, HORIZON, period=None)
    seeing = LinearForecaster(1, LOOKBACK, HORIZON, period=12)
    for model in (blind, seeing):
        model.fit(data, **LIGHT)
    assert error(seeing, data) < 1e-4
    assert error(blind, data) > 0.02


def test_a_level_reverts_as_far_as_its_penalty_allows():
    values = noise(4000, 1)  # white: the best forecast is 0, wherever the window's mean lies
    data = windows(values)
    batch = data.batch(torch.arange(len(data)))
    mean = batch.history.mean(1)
    slopes = []
    for level in (1e-6, 1e3):
        model = LinearForecaster(1, LOOKBACK, HORIZON, period=None)
        model.fit(data, window=1e-3, level=level, phase=1.0)
        forecast = model(batch.history, batch.start)[:, 0]
        slopes.append(((forecast * mean).mean() / mean.square().mean()).item())
    assert slopes[0] == pytest.approx(0, abs=0.1)
    assert slopes[1] == pytest.approx(1, abs=0.1)


def test_the_solution_is_the_minimum_of_its_penalised_loss():
    data = windows(noise(300, 2).cumsum(0) / 5)
    model = LinearForecaster(2, LOOKBACK, HORIZON, period=4).double()
    model.fit(data, window=0.02, level=0.5, phase=0.1)
    model.weight.requires_grad_()
    batch = data.batch(torch.arange(len(data)))
    history, future = batch.history.double(), batch.future.double()
    power = (history - history.mean(1, keepdim=True)).square().mean((0, 1))
    loss = (model(history, batch.start) - future).square().mean(0).sum()
    weight = model.weight.square().sum(-1)
    loss = loss + (0.02 * power * weight[:, :LOOKBACK].sum(1)).sum()
    loss = loss + 0.5 * weight[:, LOOKBACK].sum() + 0.1 * weight[:, LOOKBACK + 1 :].sum()
    loss.backward()
    assert model.weight.grad.abs().max() < 1e-4


def test_a_constant_variable_is_forecast_as_it_is():
    values = torch.cat([noise(100, 1), torch.full((100, 1), 3.0)], dim=1)
    data = windows(values)
    model = LinearForecaster(2, LOOKBACK, HORIZON, period=4)
    model.fit(data, window=0.01, level=1.0, phase=0.01)
    assert model.weight.isfinite().all()
    assert error(model, data)[1] < 1e-6
