"""Mean-flow distillation: the identity in closed form, its derivative, and learning from it."""

from __future__ import annotations

import copy

import pytest
import torch
from affine_flow import ToyCondition, ToyFlow, collect, exact, teacher
from bimodal_flow import Bimodal, ExactStudent, Mode, Modes
from torch import Tensor

from weir.distillation.meanflow import MeanFlowObjective, between, mean_velocity
from weir.flows.paths import expand_time


class MeanToy(ToyFlow):
    """The toy flow with mean velocity `v(x) (1 + a h + b h^2 + d h^3)` over a step h.

    The exact one is `v(x) (e^(s h) - 1) / (s h)`, whose series has a = s / 2, b = s^2 / 6,
    d = s^3 / 24; the next term is below 0.0006 for s = -0.5.
    """

    def __init__(self) -> None:
        super().__init__()
        self.gain = torch.nn.Parameter(torch.zeros(3))

    def velocity(
        self, x: Tensor, t: Tensor, condition: ToyCondition, step: Tensor | None = None
    ) -> Tensor:
        v = super().velocity(x, t, condition)
        if step is None:
            return v
        h = step.reshape(step.shape + (1,) * (x.ndim - step.ndim)) if step.ndim else step
        return v * (1 + self.gain[0] * h + self.gain[1] * h**2 + self.gain[2] * h**3)


def student(slope: float | None = None) -> MeanToy:
    """A student that ignores its step, or the exact one of a teacher's slope."""
    model = MeanToy()
    model.student = True
    if slope is not None:
        with torch.no_grad():
            model.gain.copy_(torch.tensor([slope / 2, slope**2 / 6, slope**3 / 24]))
    return model


def gradient(model: MeanToy) -> float:
    """Largest derivative of the loss by a weight."""
    objective = MeanFlowObjective(model, teacher(), huber=0.05)
    torch.manual_seed(0)
    objective(collect(knots=4).batch(torch.arange(50)), 0.0)["loss"].backward()
    return max(float(p.grad.abs().max()) for p in (model.push, model.slope, model.gain))


def test_the_exact_mean_velocity_is_where_the_loss_has_no_gradient() -> None:
    assert gradient(student(-0.5)) < 0.005
    assert gradient(student()) > 0.1
    assert gradient(student(0.5)) > 0.1


def test_the_identity_holds_for_a_flow_that_bends() -> None:
    """With `dx/dr = v`, `dr = 1`, and a step that shrinks as fast as its start moves on."""
    condition, flow, mean = Mode(Modes().mode.double()), Bimodal(), ExactStudent()
    torch.manual_seed(0)
    x = torch.randn(64, 8, 2, dtype=torch.float64)
    r, share = torch.rand(2, 64, 8, dtype=torch.float64)
    t = r + (1 - r) * share
    v = flow.velocity(x, r, condition)
    u, slope = mean_velocity(mean, x, r, t, condition, v)
    bend = (t - r)[..., None] * slope
    torch.testing.assert_close(u, v + bend, atol=1e-9, rtol=0)
    assert bend.abs().median() > 0.1  # neither v alone nor the other sign would do
    # Any constant of a trajectory obeys the identity; this one is where it ends.
    end = flow.transport(x, condition, steps=200).final
    jumped = x + mean.jump(x, torch.tensor(0.0), torch.tensor(1.0), condition)
    torch.testing.assert_close(jumped, end, atol=5e-3, rtol=0)


def test_training_from_other_weights_finds_the_one_step_map() -> None:
    model, pairs = student(), collect()
    with torch.no_grad():
        model.push.fill_(0.3)
        model.slope.fill_(0.4)
    objective = MeanFlowObjective(model, teacher())
    batch = pairs.batch(torch.arange(50))
    optimizer = torch.optim.Adam([p for p in objective.parameters() if p.requires_grad], 0.05)
    torch.manual_seed(0)
    for number in range(250):
        optimizer.param_groups[0]["lr"] = 0.05 * (1 - number / 250)
        optimizer.zero_grad()
        objective(batch, number / 250)["loss"].backward()
        optimizer.step()
    with torch.no_grad():
        condition = model.condition(batch.batch)
        truth = exact(teacher(), batch.noise, batch.batch.centre)
        for steps in (1, 2, 3):  # any number of steps
            made = model.transport(batch.noise, condition, steps=steps).final
            torch.testing.assert_close(made, truth, atol=0.01, rtol=0)


def test_a_quarter_of_the_steps_has_no_length(monkeypatch: pytest.MonkeyPatch) -> None:
    """They alone tell the end of a trajectory from another of its constants."""
    sizes = []

    def jump(x: Tensor, r: Tensor, t: Tensor, condition: ToyCondition) -> Tensor:
        sizes.append((t - r).clone())
        return 0 * x + expand_time(t - r, x)

    objective = MeanFlowObjective(student(), teacher())
    monkeypatch.setattr(objective.model, "jump", jump)
    batch = collect().batch(torch.arange(50))
    for _ in range(20):
        objective(batch, 0.0)
    size = torch.stack([one.detach() for one in sizes]).flatten()
    assert (size == 0).float().mean() == pytest.approx(0.25, abs=0.03)
    assert size.min() == 0 and 0.9 < size.max() <= 1


def test_the_teacher_is_frozen_and_in_evaluation_mode() -> None:
    flow = ToyFlow().train()
    before = copy.deepcopy(flow.state_dict())
    objective = MeanFlowObjective(flow.as_student(), flow).train()
    assert objective.model.training and not objective.teacher.training
    assert {n for n, p in objective.named_parameters() if p.requires_grad} == {
        "model.push", "model.slope", "model.by_step",
    }  # fmt: skip
    assert all(torch.equal(before[n], value) for n, value in flow.state_dict().items())


class Curved(ToyFlow):
    """A student with a velocity that bends in all its arguments."""

    def velocity(
        self, x: Tensor, t: Tensor, condition: ToyCondition, step: Tensor | None = None
    ) -> Tensor:
        assert step is not None
        return torch.sin(x * t[..., None]) * (1 + step[..., None]) ** 2 + condition.centre[:, None]


@pytest.mark.parametrize("size", [0.0, 0.3])
def test_the_derivative_is_that_of_finite_differences(size: float) -> None:
    model = Curved().double()
    torch.manual_seed(0)
    x, v = torch.randn(2, 4, 3, 2, dtype=torch.float64)
    r = torch.rand(4, 3, dtype=torch.float64) * 0.5
    condition = ToyCondition(torch.randn(4, 2, dtype=torch.float64))
    t, e = r + size, 1e-5
    u, slope = mean_velocity(model, x, r, t, condition, v)
    ahead = model.jump(x + e * v, r + e, t, condition)
    behind = model.jump(x - e * v, r - e, t, condition)
    torch.testing.assert_close(u, model.jump(x, r, t, condition))
    torch.testing.assert_close(slope, (ahead - behind) / (2 * e), atol=1e-8, rtol=1e-7)


def test_points_between_stored_ones_lie_on_the_chord() -> None:
    batch = collect(knots=4).batch(torch.arange(50))
    for number, time in enumerate(batch.times):
        at = between(batch, time.expand(50, 3))
        torch.testing.assert_close(at, batch.path[:, :, number])
    middle = between(batch, torch.full((50, 3), 0.3))
    torch.testing.assert_close(middle, batch.path[:, :, 1:3].mean(2))
