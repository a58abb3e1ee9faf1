"""The residual flow: what it starts as, what its gradient reaches, what it learns."""

from __future__ import annotations

import pytest
import torch
from tiny_flow import HORIZON, LOOKBACK, VARIABLES, flow, stir, windows

from weir.flows.paths import Path
from weir.tasks.forecast.data.windows import WindowSet
from weir.tasks.forecast.flow.residual_flow import fit_source
from weir.tasks.forecast.flow.stage2 import Stage2Objective


@pytest.mark.parametrize("path", ["linear", "trigonometric"])
def test_untrained_flow_is_its_gaussian_source(path: str) -> None:
    model = flow(path=path, residual="scaled").eval()
    fit_source(model, windows())
    batch = windows().batch(torch.arange(4))
    with torch.no_grad():
        condition = model.condition(batch)
        noise = model.source(condition, 5)
        end = model.transport(noise, condition, steps=50, solver="heun").final
    torch.testing.assert_close(end, noise, atol=2e-3, rtol=0)


@pytest.mark.parametrize("residual", ["scaled", "normal_score", "raw"])
def test_fitted_source_has_the_moments_of_the_residuals(residual: str) -> None:
    data, model = windows(), flow(residual=residual).eval()
    fit_source(model, data, kronecker=0.0, diagonal=0.0)
    batch = data.batch(torch.arange(len(data)))
    with torch.no_grad():
        condition = model.condition(batch)
        events = model.events(batch.future, condition).flatten(1)
        noise = model.source(condition, 60).flatten(0, 1).flatten(1)
    moment = events.T @ events / len(events)
    torch.testing.assert_close(moment.diagonal(), torch.ones(len(moment)), atol=1e-4, rtol=0)
    torch.testing.assert_close(noise.T @ noise / len(noise), moment, atol=0.05, rtol=0)
    # Variables 0 and 1 share noise: the source has to know.
    pair = moment.reshape(*model.event, *model.event)[0, 0, 1, 0]
    assert pair > 0.3


@pytest.mark.parametrize("residual", ["scaled", "normal_score", "raw", "direct"])
def test_decode_inverts_events(residual: str) -> None:
    data, model = windows(), flow(residual=residual).eval()
    fit_source(model, data)
    batch = data.batch(torch.arange(6))
    with torch.no_grad():
        condition = model.condition(batch)
        back = model.decode(model.events(batch.future, condition)[:, None], condition)
    torch.testing.assert_close(back[:, 0], batch.future, atol=1e-4, rtol=1e-4)


def test_gradient_of_the_flow_does_not_reach_a_frozen_backbone() -> None:
    model = stir(flow())
    objective = Stage2Objective(model)
    objective(windows().batch(torch.arange(8)), 0.0)["loss"].backward()
    assert all(p.grad is None for p in model.backbone.parameters())
    assert all(p.grad is not None for p in model.network.parameters())
    [group] = objective.parameter_groups()
    assert {id(p) for p in group["params"]} == {id(p) for p in model.network.parameters()}


def test_frozen_backbone_stays_in_evaluation_mode() -> None:
    model = flow().train()
    assert model.network.training and not model.backbone.training


def test_samples_of_a_window_do_not_depend_on_its_company() -> None:
    model = stir(flow()).eval()
    batch = windows().batch(torch.tensor([5, 90]))
    with torch.no_grad():
        condition = model.condition(batch)
        noise = model.source(condition, 3)
        both = model.transport(noise, condition).final
        one = model.transport(noise[1:], model.condition(windows().batch(torch.tensor([90])))).final
    torch.testing.assert_close(both[1:], one, atol=1e-5, rtol=1e-5)


def test_sampling_is_reproducible_and_has_the_contract_s_shape() -> None:
    model, batch = stir(flow()).eval(), windows().batch(torch.arange(5))
    draw = [
        model.sample(
            batch.history, batch.start, 7, steps=2, generator=torch.Generator().manual_seed(seed)
        )
        for seed in (3, 3, 4)
    ]
    assert draw[0].shape == (5, 7, HORIZON, VARIABLES)
    assert torch.equal(draw[0], draw[1]) and not torch.equal(draw[0], draw[2])
    assert model.point(batch.history, batch.start).shape == (5, HORIZON, VARIABLES)
    assert model.nfe(2) == 4 and model.nfe(3, "euler") == 3


def trained_on_signs(signs: torch.Tensor, *, symmetric: bool) -> torch.Tensor:
    """Levels `[window, draw]` that a flow samples after seeing only futures of constant level."""
    torch.manual_seed(0)
    data = WindowSet(torch.zeros(300, VARIABLES), 0, 300, LOOKBACK, HORIZON)
    model = flow(residual="raw", source="isotropic")
    objective = Stage2Objective(model, draws=16, symmetric=symmetric)
    optimizer = torch.optim.Adam(model.network.parameters(), 0.01)
    for _ in range(150):
        batch = data.batch(torch.randint(len(data), (16,)))
        level = signs[torch.randint(0, len(signs), (16, 1, 1))]
        optimizer.zero_grad()
        objective(batch._replace(future=batch.future + level), 0.0)["loss"].backward()
        optimizer.step()
    model.eval()
    batch = data.batch(torch.arange(4))
    return model.sample(batch.history, batch.start, 200, steps=8).mean((2, 3))


def test_training_leaves_the_gaussian_for_two_modes() -> None:
    levels = trained_on_signs(torch.tensor([-1.0, 1.0]), symmetric=False)
    # The level of white noise is N(0, 1 / 24): modes at -1 and 1 are the flow's doing.
    assert float(levels.abs().mean()) == pytest.approx(1, abs=0.2)
    assert 0.3 < float((levels > 0).float().mean()) < 0.7


def test_symmetric_training_learns_shape_but_no_location() -> None:
    biased = torch.tensor([1.0])
    free, symmetric = (trained_on_signs(biased, symmetric=s) for s in (False, True))
    assert float(free.mean()) == pytest.approx(1, abs=0.2)
    assert float(symmetric.mean()) == pytest.approx(0, abs=0.3)
    assert float(symmetric.abs().mean()) == pytest.approx(1, abs=0.2)


def test_student_starts_as_the_teacher_s_euler_step_whatever_its_step_input() -> None:
    teacher = stir(flow(path="trigonometric")).eval()
    student = teacher.as_student().eval()
    batch = windows().batch(torch.arange(3))
    with torch.no_grad():
        condition = teacher.condition(batch)
        noise = teacher.source(condition, 2)
        zero = torch.tensor(0.0)
        euler = teacher.transport(noise, condition, steps=1, solver="euler").final
        at_zero = noise + student.velocity(noise, zero, condition, zero)
        jump = noise + student.jump(noise, zero, torch.tensor(1.0), condition)
    torch.testing.assert_close(at_zero, euler)
    # The trigonometric path's Gaussian does not move, so the whole jump starts there too.
    torch.testing.assert_close(jump, euler)


def test_student_of_the_linear_path_starts_with_the_gaussian_s_exact_jump() -> None:
    student = flow(path="linear").as_student().eval()
    assert Path("linear").gaussian_gain(torch.tensor(0.0)) == -1
    batch = windows().batch(torch.arange(3))
    with torch.no_grad():
        condition = student.condition(batch)
        noise = student.source(condition, 2)
        made = student.transport(noise, condition)
    assert made.nfe == student.nfe() == 1
    torch.testing.assert_close(made.final, noise)


def test_student_s_weights_fit_a_model_built_as_student() -> None:
    student = stir(flow()).as_student()
    built = flow(student=True)
    built.load_state_dict(student.state_dict())
    assert built.student and built.network.step is not None


def test_evaluation_reports_scores_of_draws() -> None:
    objective = Stage2Objective(flow())
    batch = windows().batch(torch.arange(8))
    assert set(objective.train()(batch, 0.0)) == {"loss"}
    scores = objective.eval()(batch, 0.0)
    assert set(scores) == {"loss", "crps", "energy"}
    assert scores["energy"] > scores["crps"] > 0
