"""Students of perturbation under the objectives that look along trajectories."""

from __future__ import annotations

import pytest
import torch
from perturb_tiny_flow import cell_set, cells, flow, stir
from test_perturb_flow import TARGET

from weir.distillation.consistency import ConsistencyObjective
from weir.distillation.meanflow import MeanFlowObjective
from weir.distillation.objective import StudentObjective
from weir.distillation.pairs import PairBatch, PairSet, knot_times, sample_pairs
from weir.tasks.perturb.flow.cell_flow import CellFlow


def batch_of(teacher: CellFlow) -> PairBatch:
    """Two draws of 24 queries with one knot."""
    queries, items = teacher.queries(cell_set()), torch.arange(24)
    parts = list(sample_pairs(teacher, queries, items, draws=2, seed=3, steps=4, knots=1))
    output, knots = (torch.cat([getattr(part, n) for part in parts]) for n in ("output", "knots"))
    return PairSet(queries, items, output, knots, knot_times(4, 1), 3).batch(items)


def make(name: str, teacher: CellFlow) -> StudentObjective:
    """The objective called `name` of a new student."""
    student = teacher.as_student()
    if name == "meanflow":
        return MeanFlowObjective(student, teacher)
    return ConsistencyObjective(student, target=name)


@pytest.mark.parametrize("source", ["control", "noise"])
@pytest.mark.parametrize("name", ["meanflow", "teacher", "data"])
def test_a_student_learns_along_trajectories(source: str, name: str) -> None:
    teacher = stir(flow(source=source)).eval()
    before = {key: value.clone() for key, value in teacher.state_dict().items()}
    batch, objective = batch_of(teacher), make(name, teacher).train()
    optimizer = torch.optim.Adam([p for p in objective.parameters() if p.requires_grad], 3e-3)
    torch.manual_seed(0)
    loss = objective(batch, 0.0)["loss"]
    loss.backward()
    step = objective.model.network.basis.step
    assert torch.isfinite(loss)
    assert float(step.layers[-1].weight.grad.abs().max()) > 0
    optimizer.step()
    assert all(torch.equal(before[key], value) for key, value in teacher.state_dict().items())
    made = objective.model.eval().respond(cells(), TARGET.expand(6, -1))
    assert torch.isfinite(made.expression).all()
