"""The backbone's shapes, equivariances and training signal, on tiny models."""

import pytest
import torch

from weir.tasks.forecast.data.windows import WindowSet
from weir.tasks.forecast.representation.heads import Marginal
from weir.tasks.forecast.representation.itransformer import ITransformer
from weir.tasks.forecast.representation.stage1 import Stage1Objective

VARIABLES, LOOKBACK, HORIZON = 3, 12, 6
HEADS = ("student_t", "gaussian", "point")


def build(**settings) -> ITransformer:
    torch.manual_seed(0)
    defaults = {"width": 8, "layers": 1, "heads": 2, "dropout": 0.0, "cycle": 4}
    model = ITransformer(VARIABLES, LOOKBACK, HORIZON, **defaults | settings)
    with torch.no_grad():  # away from the zeros of the initialisation
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape))
    return model.eval()


def windows(rows: int = 60) -> WindowSet:
    generator = torch.Generator().manual_seed(7)
    values = torch.randn(rows, VARIABLES, generator=generator)
    return WindowSet(values, 0, rows, LOOKBACK, HORIZON)


@pytest.mark.parametrize("head", HEADS)
def test_shapes(head):
    model, batch = build(head=head), windows().batch(torch.arange(5))
    marginal = model(batch.history, batch.start)
    assert marginal.loc.shape == marginal.scale.shape == (5, HORIZON, VARIABLES)
    assert (marginal.scale > 0).all()
    assert (marginal.df is not None) == (head == "student_t")
    if marginal.df is not None:
        assert marginal.df.shape == marginal.loc.shape
        assert (marginal.df > 2).all()
    assert model.encode(batch.history, batch.start).shape == (5, VARIABLES, 8)
    assert model.sample(batch.history, batch.start, 4).shape == (5, 4, HORIZON, VARIABLES)
    assert model.nfe() == 1


def test_describe_gives_what_encode_and_forward_give():
    model, batch = build(), windows().batch(torch.arange(5))
    tokens, marginal = model.describe(batch.history, batch.start)
    torch.testing.assert_close(tokens, model.encode(batch.history, batch.start))
    torch.testing.assert_close(marginal.loc, model.point(batch.history, batch.start))


def test_draws_spread_around_the_point_forecast_as_the_law_says():
    model, batch = build(head="gaussian"), windows().batch(torch.arange(2))
    marginal = model(batch.history, batch.start)
    generator = torch.Generator().manual_seed(0)
    draws = model.sample(batch.history, batch.start, 4000, generator=generator)
    z = (draws - marginal.loc[:, None]) / marginal.scale[:, None]
    assert z.mean(1).abs().max() < 0.1
    assert (z.std(1) - 1).abs().max() < 0.1
    point = build(head="point")
    draws = point.sample(batch.history, batch.start, 3)
    assert torch.equal(draws[:, 2], point.point(batch.history, batch.start))


def test_an_untrained_model_forecasts_the_mean_of_the_window():
    model, batch = ITransformer(VARIABLES, LOOKBACK, HORIZON), windows().batch(torch.arange(5))
    expected = batch.history.mean(1, keepdim=True).expand(-1, HORIZON, -1)
    torch.testing.assert_close(model.eval().point(batch.history, batch.start), expected)


def test_an_untrained_model_forecasts_what_its_fitted_skip_forecasts():
    model = ITransformer(VARIABLES, LOOKBACK, HORIZON, cycle=4).eval()
    model.skip.fit(windows(), window=0.1, level=1.0, phase=0.1)
    batch = windows().batch(torch.arange(5))
    forecast = model.point(batch.history, batch.start)
    torch.testing.assert_close(forecast, model.skip(batch.history, batch.start))
    assert (forecast - batch.history.mean(1, keepdim=True)).abs().max() > 0.1


def test_only_the_phase_of_the_start_matters():
    model, batch = build(cycle=4), windows().batch(torch.arange(5))
    now = model.point(batch.history, batch.start)
    torch.testing.assert_close(model.point(batch.history, batch.start + 8), now)
    assert not torch.allclose(model.point(batch.history, batch.start + 1), now)
    free = build(cycle=None)
    torch.testing.assert_close(
        free.point(batch.history, batch.start + 1), free.point(batch.history, batch.start)
    )


@pytest.mark.parametrize("size", [0.0, 1e-6, 1e-3])
def test_near_constant_windows_keep_a_bounded_forecast(size):
    model = build(cycle=None, floor=0.1)
    history = 2 + size * torch.randn(4, LOOKBACK, VARIABLES)
    marginal = model(history, torch.zeros(4, dtype=torch.int64))
    assert (marginal.loc - 2).abs().max() < 1
    assert marginal.scale.isfinite().all()
    assert marginal.scale.max() < 1


@pytest.mark.parametrize("head", HEADS)
def test_losses_are_those_of_the_head(head):
    objective, batch = (
        Stage1Objective(build(head=head), 0.5).eval(),
        windows().batch(torch.arange(9)),
    )
    marginal = objective.model(batch.history, batch.start)
    error = batch.future - marginal.loc
    found = objective(batch, 1.0)
    assert found["mse"].item() == pytest.approx(error.square().mean().item())
    assert found["mae"].item() == pytest.approx(error.abs().mean().item())
    if head == "point":
        assert found["loss"] == found["mse"]
        assert found["crps"] == found["mae"]
    else:
        nll = marginal.nll(batch.future).mean()
        assert found["loss"].item() == pytest.approx((nll + 0.5 * found["mse"]).item())
        assert found["crps"].item() == pytest.approx(marginal.crps(batch.future).mean().item())
    assert "crps" not in objective.train()(batch, 0.0)


@pytest.mark.parametrize("head", HEADS)
def test_every_parameter_learns_and_is_in_one_group(head):
    objective, batch = Stage1Objective(build(head=head)).train(), windows().batch(torch.arange(9))
    objective(batch, 0.0)["loss"].backward()
    grouped = [p for group in objective.parameter_groups() for p in group["params"]]
    assert {id(p) for p in grouped} == {id(p) for p in objective.parameters()}
    assert len(grouped) == len(set(map(id, grouped)))
    for name, parameter in objective.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().sum() > 0, name


def test_training_leaves_the_fitted_skip_alone():
    model = build()
    model.skip.fit(windows(), window=0.1, level=1.0, phase=0.1)
    assert "skip.weight" in model.state_dict()
    assert not any(name.startswith("skip") for name, _ in model.named_parameters())


def test_training_learns_a_cycle_and_the_noise_around_it():
    torch.manual_seed(0)
    rows = torch.arange(600)
    clean = torch.sin(2 * torch.pi * rows / 4)[:, None] * torch.tensor([1.0, -0.5, 2.0])
    data = WindowSet(clean + 0.2 * torch.randn(600, VARIABLES), 0, 600, LOOKBACK, HORIZON)
    model = ITransformer(VARIABLES, LOOKBACK, HORIZON, width=8, layers=1, heads=2, cycle=4)
    model.skip.fit(data, window=0.01, level=1.0, phase=0.01)
    objective = Stage1Objective(model)
    optimizer = torch.optim.AdamW(objective.parameter_groups(), lr=0.02)
    for _ in range(100):
        loss = objective(data.batch(torch.randint(len(data), (64,))), 0.0)["loss"]
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    found = objective.eval()(data.batch(torch.arange(len(data))), 1.0)
    assert found["mse"] < 1.2 * 0.2**2
    assert found["crps"] < 1.1 * 0.2 * 0.5642  # the CRPS of the true law is scale / sqrt(pi)


def test_without_reversion_the_location_moves_with_the_level():
    batch = windows().batch(torch.arange(5))
    for reverting in (False, True):
        model = build(reverting=reverting)  # its skip's weights are 0: the mean of the window
        now, raised = (model(batch.history + level, batch.start) for level in (0.0, 2.0))
        assert torch.allclose(raised.loc, now.loc + 2, atol=1e-4) != reverting
        assert not torch.allclose(raised.scale, now.scale)


@pytest.mark.parametrize("df", [None, 2.05, 4.0, 300.0])
def test_the_closed_form_crps_is_that_of_scoringrules(df: float | None) -> None:
    import scoringrules

    generator = torch.Generator().manual_seed(0)
    loc, value = torch.randn(2, 3, 5, 2, generator=generator, dtype=torch.float64) * 3
    scale = torch.rand(3, 5, 2, generator=generator, dtype=torch.float64) + 0.1
    law = Marginal(loc, scale, None if df is None else torch.full_like(loc, df))
    arguments = [item.numpy() for item in (loc, scale)]
    expected = (
        scoringrules.crps_normal(value.numpy(), *arguments)
        if df is None
        else scoringrules.crps_t(value.numpy(), df, *arguments)
    )
    torch.testing.assert_close(law.crps(value), torch.from_numpy(expected), rtol=1e-9, atol=1e-9)
