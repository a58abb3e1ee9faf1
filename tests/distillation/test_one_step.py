"""Students that are started as a teacher whose single Euler step is bad learn to jump."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from bimodal_flow import Bimodal, Mode, Modes
from torch import Tensor, nn

from weir.distillation.consistency import ConsistencyObjective
from weir.distillation.meanflow import MeanFlowObjective
from weir.distillation.objective import StudentObjective
from weir.distillation.pairs import PairSet, knot_times, sample_pairs
from weir.distillation.regression import RegressionObjective
from weir.flows.paths import expand_time
from weir.flows.proper import fair_energy


class Learner(Bimodal):
    """The teacher's velocity and a network that adds nothing yet."""

    student = True

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Linear(6, 64), nn.SiLU(), nn.Linear(64, 64), nn.SiLU(), nn.Linear(64, 2)
        )
        nn.init.zeros_(self.body[-1].weight)
        nn.init.zeros_(self.body[-1].bias)

    def velocity(self, x: Tensor, t: Tensor, condition: Mode, step: Tensor | None = None) -> Tensor:
        assert step is not None
        mode = condition.mode[:, None].expand_as(x)
        times = [expand_time(time, x).expand_as(x[..., :1]) for time in (t, step)]
        return super().velocity(x, t, condition) + self.body(torch.cat([x, mode, *times], -1))


def pairs() -> PairSet:
    """Four draws of 64 conditions, seven knots each."""
    (one,) = sample_pairs(
        Bimodal(), Modes(), torch.arange(64), draws=4, seed=7, steps=32, solver="heun", knots=7
    )
    return PairSet(Modes(), one.items, one.output, one.knots, knot_times(32, 7), seed=7)


def excess(made: Tensor, other: Tensor, truth: Tensor) -> float:
    """Energy score over that of the teacher's other draws, less one."""
    return float(fair_energy(made, truth).mean() / fair_energy(other, truth).mean()) - 1


OBJECTIVES: dict[str, Callable[[Learner], StudentObjective]] = {
    "regression": RegressionObjective,
    "meanflow": lambda student: MeanFlowObjective(student, Bimodal()),
    "consistency": ConsistencyObjective,
}


@pytest.mark.parametrize("name", OBJECTIVES)
def test_a_student_closes_most_of_the_gap_of_an_euler_step(name: str) -> None:
    torch.manual_seed(0)
    objective, batch = OBJECTIVES[name](Learner()), pairs().batch(torch.arange(64))
    condition = batch.batch
    with torch.no_grad():
        teacher = [
            Bimodal().transport(torch.randn(64, 32, 2), condition, steps=32).final for _ in "ab"
        ]
    noise = torch.randn(64, 32, 2)

    def gap() -> float:
        with torch.no_grad():
            return excess(objective.model.transport(noise, condition).final, *teacher)

    before, steps = gap(), 200
    optimizer = torch.optim.Adam(objective.parameters(), 4e-3)
    for step in range(steps):
        optimizer.param_groups[0]["lr"] = 4e-3 * (1 - step / steps)
        optimizer.zero_grad()
        objective(batch, step / steps)["loss"].backward()
        optimizer.step()
    after = gap()
    assert before > 0.5
    assert after < before / 2
