"""Objectives of the student: each learns what it is meant to, and mean matching does not."""

from __future__ import annotations

import pytest
import torch
from affine_flow import ToyCondition, ToyData, ToyFlow, collect, exact, teacher
from torch import Tensor

from weir.distillation.distributional import EnergyObjective, MatchMeanObjective
from weir.distillation.objective import StudentObjective, fresh_draws, one_step, pseudo_huber
from weir.distillation.pairs import PairSet, sample_pairs
from weir.distillation.regression import EndpointObjective, RegressionObjective


def train(objective: StudentObjective, pairs: PairSet, steps: int = 300) -> float:
    """Minimise the loss; return the student's spread over the teacher's."""
    torch.manual_seed(0)
    optimizer = torch.optim.Adam(objective.parameters(), 0.05)
    batch = pairs.batch(torch.arange(50))
    for step in range(steps):
        optimizer.param_groups[0]["lr"] = 0.05 * (1 - step / steps)
        optimizer.zero_grad()
        objective(batch, step / steps)["loss"].backward()
        optimizer.step()
    made = student_outputs(objective, pairs)
    return float(made.std(1).mean() / batch.output.std(1).mean())


@torch.no_grad()
def student_outputs(objective: StudentObjective, pairs: PairSet) -> Tensor:
    batch = pairs.batch(torch.arange(50))
    return one_step(objective.model, batch.noise, objective.model.condition(batch.batch))


def test_regression_reproduces_the_teacher_pair_by_pair() -> None:
    pairs = collect()
    objective = RegressionObjective(teacher().as_student())
    before = student_outputs(objective, pairs) - pairs.output
    spread = train(objective, pairs)
    after = student_outputs(objective, pairs) - pairs.output
    assert spread == pytest.approx(1, abs=0.01)
    assert after.abs().max() < 0.02 < before.abs().max()


def test_regression_accepts_an_added_energy_term() -> None:
    pairs = collect()
    objective = RegressionObjective(teacher().as_student(), energy_weight=0.5)
    plain = RegressionObjective(objective.model)
    batch = pairs.batch(torch.arange(50))
    assert objective(batch, 0.0)["loss"] > plain(batch, 0.0)["loss"]
    train(objective, pairs)
    assert (student_outputs(objective, pairs) - pairs.output).abs().max() < 0.3


def test_endpoint_learns_jumps_of_several_sizes() -> None:
    pairs = collect(knots=4)
    objective = EndpointObjective(teacher().as_student())
    train(objective, pairs, 600)
    batch = pairs.batch(torch.arange(50))
    with torch.no_grad():
        condition = objective.model.condition(batch.batch)
        for steps in (1, 5):
            made = objective.model.transport(batch.noise, condition, steps=steps)
            assert made.nfe == steps
            assert (made.final - batch.output).abs().max() < 0.1


def test_energy_finds_the_spread_without_pairing() -> None:
    pairs = collect()
    objective = EnergyObjective(teacher().as_student())
    with torch.no_grad():
        objective.model.slope.fill_(-0.9)
    shuffled = PairSet(
        pairs.data,
        pairs.items,
        pairs.output.flip(1),
        pairs.knots.flip(1),
        pairs.times,
        pairs.seed,
    )
    assert train(objective, shuffled) == pytest.approx(1, abs=0.1)


def test_mean_matching_destroys_the_spread() -> None:
    pairs = collect()
    assert train(MatchMeanObjective(teacher().as_student()), pairs) < 0.2


def test_scores_of_draws_do_not_use_the_noise_of_the_pairs() -> None:
    """A student that spreads three times too far must not look better for being paired."""
    pairs = collect()
    batch = pairs.batch(torch.arange(50))
    student = teacher().as_student()
    right, wide = [], []
    for seed in range(20):
        for slope, scores in ((-0.4, right), (0.8, wide)):
            torch.manual_seed(seed)
            with torch.no_grad():
                student.slope.fill_(slope)
            scores.append(float(EnergyObjective(student)(batch, 0.0)["loss"].detach()))
    assert sum(right) < sum(wide)
    condition = student.condition(batch.batch)
    drawn = fresh_draws(student, batch, condition)
    assert drawn.shape == batch.output.shape
    paired = one_step(student, batch.noise, condition)
    both = torch.stack([drawn.flatten(), paired.flatten()]).detach()
    centre = batch.batch.centre[:, None].expand_as(drawn).flatten()
    assert abs(float(torch.corrcoef(both - centre)[0, 1])) < 0.3


class Shifted(ToyFlow):
    """A flow whose source lies at its condition's centre."""

    def colour(self, white: Tensor, condition: ToyCondition) -> Tensor:
        return white + condition.centre[:, None]


def test_a_source_that_depends_on_the_condition_starts_teacher_and_student() -> None:
    flow, data = Shifted().eval(), ToyData()
    (pairs,) = sample_pairs(flow, data, torch.arange(50), draws=3, seed=7, steps=50)
    stored = PairSet(data, pairs.items, pairs.output, pairs.knots, torch.tensor([0.0, 1.0]), 7)
    batch = stored.batch(torch.arange(50))
    centre = data.centres[:, None]
    torch.testing.assert_close(
        batch.output, exact(flow, batch.noise + centre, data.centres), atol=1e-4, rtol=0
    )
    assert torch.equal(
        batch.coloured(flow, flow.condition(batch.batch)).noise, batch.noise + centre
    )
    objective = RegressionObjective(flow.as_student())
    with torch.no_grad():  # the affine student that is exact
        objective.model.by_step.copy_(
            torch.tensor([2 * (1 - (-0.5 * torch.ones(())).exp()) - 1, 0])
        )
        slope = (-0.5 * torch.ones(())).exp() - 1
        objective.model.by_step[1] = slope + 0.5
    assert float(objective(batch, 0.0)["loss"].detach()) < 1e-4


def test_scores_of_the_student_appear_when_evaluating() -> None:
    pairs = collect()
    objective = RegressionObjective(teacher().as_student())
    batch = pairs.batch(torch.arange(10))
    assert set(objective.train()(batch, 1.0)) == {"loss"}
    assert set(objective.eval()(batch, 1.0)) == {"loss", "crps", "energy"}


def test_pseudo_huber_is_quadratic_then_linear() -> None:
    error = torch.tensor([3.0, 4.0]).reshape(1, 1, 2)
    assert float(pseudo_huber(error, 1e-9)) == pytest.approx(5 / 2**0.5, rel=1e-5)
    assert float(pseudo_huber(error, 1000.0)) == pytest.approx(25 / 4000 / 2**0.5, rel=1e-2)


def test_a_teacher_is_no_student() -> None:
    with pytest.raises(ValueError, match="trains a student"):
        RegressionObjective(teacher())
