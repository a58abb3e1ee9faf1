"""Consistency: its boundary, its fixed point, and what is learnt of trajectories and of data."""

from __future__ import annotations

import pytest
import torch
from affine_flow import ToyFlow, collect, exact, teacher
from test_meanflow import MeanToy, student
from torch import Tensor

from weir.distillation.consistency import ConsistencyObjective, intervals
from weir.distillation.objective import one_step
from weir.distillation.pairs import PairBatch, PairSet


def fit(objective: ConsistencyObjective, batch: PairBatch, steps: int) -> Tensor:
    """Train, and return the student's outputs for the stored noise."""
    optimizer = torch.optim.Adam(objective.parameters(), 0.05)
    torch.manual_seed(0)
    for number in range(steps):
        optimizer.param_groups[0]["lr"] = 0.05 * (1 - number / steps)
        optimizer.zero_grad()
        objective(batch, number / steps)["loss"].backward()
        optimizer.step()
    with torch.no_grad():
        return one_step(objective.model, batch.noise, objective.model.condition(batch.batch))


def test_the_end_predicts_itself_whatever_the_weights() -> None:
    model = student()
    objective = ConsistencyObjective(model)
    batch = collect().batch(torch.arange(50))
    one = torch.ones(batch.path.shape[:2])
    condition = model.condition(batch.batch)
    assert torch.equal(objective.ends(batch.output, one, condition), batch.output)


def test_the_teacher_s_own_map_is_a_fixed_point() -> None:
    batch = collect(knots=4).batch(torch.arange(50))
    right, wrong = (ConsistencyObjective(student(slope), huber=1e-4) for slope in (-0.5, 0.5))
    condition = right.model.condition(batch.batch)
    for number, time in enumerate(batch.times):  # every point of a trajectory leads to its end
        ends = right.ends(batch.path[:, :, number], time.expand(50, 3), condition)
        torch.testing.assert_close(ends, batch.output, atol=2e-3, rtol=0)
    torch.manual_seed(0)
    assert float(right(batch, 0.0)["loss"].detach()) < 1e-3
    assert float(wrong(batch, 0.0)["loss"].detach()) > 0.02


def test_distillation_finds_the_one_step_map() -> None:
    batch = collect(knots=4).batch(torch.arange(50))
    model = student()
    with torch.no_grad():
        model.push.fill_(0.3)
        model.slope.fill_(0.4)
    made = fit(ConsistencyObjective(model), batch, 300)
    assert (made - exact(teacher(), batch.noise, batch.batch.centre)).abs().max() < 0.03


def test_training_on_data_uses_outputs_alone() -> None:
    """Outputs matter, not which noise they came from, nor the points between."""
    batch = collect(knots=1).batch(torch.arange(50))
    strange = batch._replace(path=torch.cat([0 * batch.path[:, :, :-1], batch.path[:, :, -1:]], 2))
    losses = []
    for one in (batch, strange):
        torch.manual_seed(0)
        objective = ConsistencyObjective(student(), target="data")
        losses.append(float(objective(one, 0.5)["loss"].detach()))
    assert losses[0] == losses[1] > 0


def test_training_on_gaussian_data_finds_their_mean_and_spread() -> None:
    """Data N(centre, 0.6^2): the flow's map is affine, which the student can be."""
    torch.manual_seed(0)
    few = collect()
    output = few.data.centres[:, None] + 0.6 * torch.randn(50, 40, 2)
    pairs = PairSet(few.data, few.items, output, output[:, :, None][:, :, :0], few.times, 7)
    batch = pairs.batch(torch.arange(50))
    made = fit(ConsistencyObjective(Timed(), target="data", huber=0.05), batch, 300)
    assert float(made.std(1).mean()) == pytest.approx(0.6, rel=0.1)
    off = (made - few.data.centres[:, None]).mean((0, 1))
    torch.testing.assert_close(off, torch.zeros(2), atol=0.05, rtol=0)


class Timed(ToyFlow):
    """A student that is affine in x, with cubic functions of the time as coefficients."""

    student = True

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(2, 4))

    def velocity(self, x, t, condition, step=None) -> Tensor:
        powers = torch.stack([t**0, t, t**2, t**3], -1)
        push, slope = (powers @ self.weight.T).unbind(-1)
        if t.ndim:
            push, slope = push[..., None], slope[..., None]
        return push * condition.centre[:, None] + slope * x


def test_intervals_double_from_coarse_to_fine() -> None:
    counts = [intervals(n / 100) for n in range(101)]
    assert counts[0] == 4 and counts[-1] == 64 and counts == sorted(counts)
    assert set(counts) == {4, 8, 16, 32, 64}
    assert counts.count(4) == counts.count(8) == 20


def test_targets_carry_no_gradient() -> None:
    """With one knot between, the derivative is that of the early point's prediction alone."""
    batch = collect(knots=1).batch(torch.arange(50))
    model = MeanToy()
    model.student = True
    torch.manual_seed(0)
    ConsistencyObjective(model, huber=100.0)(batch, 0.0)["loss"].backward()
    torch.manual_seed(0)
    at = torch.randint(2, (50, 3))
    condition = model.condition(batch.batch)
    ends = ConsistencyObjective(model).ends
    early = ends(batch.point(at), batch.times[at], condition)
    late = ends(batch.point(at + 1), batch.times[at + 1], condition).detach()
    wanted = torch.autograd.grad((early - late).square().sum(-1).mean(), model.slope)[0]
    # Far below its constant c = 200, rho is |e|^2 / 2c per root dimension.
    torch.testing.assert_close(model.slope.grad * 400 * 2**0.5, wanted, rtol=0.02, atol=1e-4)
