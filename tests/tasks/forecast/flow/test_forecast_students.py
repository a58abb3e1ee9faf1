"""Students of forecasting under the objectives that look along trajectories, in the real loop."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_flow import flow, stir, windows
from torch import Tensor

from weir.distillation.consistency import ConsistencyObjective
from weir.distillation.meanflow import MeanFlowObjective, mean_velocity
from weir.distillation.objective import StudentObjective
from weir.distillation.pairs import PairBatch, PairSet, knot_times, sample_pairs
from weir.settings.training import Training
from weir.tasks.forecast.data.windows import Windows
from weir.tasks.forecast.flow.residual_flow import ResidualFlow
from weir.training.loop import train

Make = Callable[[ResidualFlow], StudentObjective]

OBJECTIVES: dict[str, Make] = {
    "meanflow": lambda flow: MeanFlowObjective(flow.as_student(), flow),
    "meanflow and energy": lambda flow: MeanFlowObjective(
        flow.as_student(), flow, energy_weight=0.1
    ),
    "consistency": lambda flow: ConsistencyObjective(flow.as_student()),
    "consistency of data": lambda flow: ConsistencyObjective(flow.as_student(), target="data"),
}


def teacher() -> ResidualFlow:
    """An untrained flow whose velocity is not zero."""
    return stir(flow()).eval()


def pairs(kind: type[PairSet] = PairSet) -> PairSet:
    """Two draws of twelve windows with one knot."""
    parts = list(
        sample_pairs(teacher(), windows(), torch.arange(12), draws=2, seed=3, steps=4, knots=1)
    )
    output, knots = (torch.cat([getattr(part, n) for part in parts]) for n in ("output", "knots"))
    return kind(windows(), torch.arange(12), output, knots, knot_times(4, 1), 3)


@pytest.mark.parametrize("name", OBJECTIVES)
def test_a_gradient_reaches_the_step_size(name: str) -> None:
    objective = OBJECTIVES[name](teacher()).train()
    torch.manual_seed(0)
    loss = objective(pairs().batch(torch.arange(12)), 0.5)["loss"]
    loss.backward()
    step = objective.model.network.step
    assert torch.isfinite(loss) and loss > 0
    assert float(step.layers[-1].weight.grad.abs().max()) > 0
    assert all(p.grad is None for p in objective.model.backbone.parameters())


@pytest.mark.parametrize("size", [0.0, 0.01, 0.5])
def test_the_forward_derivative_is_that_of_finite_differences(size: float) -> None:
    """Through attention, normalisation and embeddings, in double precision."""
    model = stir(teacher().as_student()).double().eval()
    history, future, start = windows().batch(torch.arange(3))
    condition = model.condition(Windows(history.double(), future.double(), start))
    torch.manual_seed(0)
    x, v = torch.randn(2, 3, 2, *model.event, dtype=torch.float64)
    r = 0.1 + 0.3 * torch.rand(3, 2, dtype=torch.float64)
    t, e = r + size, 1e-5

    def ahead(by: float) -> Tensor:
        return model.jump(x + by * v, r + by, t, condition)

    with torch.no_grad():
        _, slope = mean_velocity(model, x, r, t, condition, v)
        # Four points: sinusoids of period 0.1 leave two points an error of 1e-5.
        near, far = ahead(e) - ahead(-e), ahead(2 * e) - ahead(-2 * e)
    if size:  # at no step, the Gaussian's gain has a derivative of its own, times a step of zero
        torch.testing.assert_close(slope, (8 * near - far) / (12 * e), atol=1e-7, rtol=1e-7)
    assert torch.isfinite(slope).all()


class Failing(PairSet):
    """Pairs whose delivery fails at some call."""

    calls = 0
    last = 10**9

    def to(self, device: torch.device | str) -> Failing:
        return self

    def batch(self, items: Tensor) -> PairBatch:
        type(self).calls += 1
        if type(self).calls > self.last:
            raise ConnectionError
        return super().batch(items)


@pytest.mark.parametrize("name", OBJECTIVES)
def test_a_training_that_is_cut_off_resumes_to_the_same_weights(name: str, tmp_path: Path) -> None:
    settings = Training(
        steps=6, batch_size=6, learning_rate=1e-2, ema=0.9, validate_every=3, checkpoint_every=2,
        monitor="energy",
    )  # fmt: skip

    def run(folder: str, last: int) -> Any:
        objective = OBJECTIVES[name](teacher())
        data = pairs(Failing)
        Failing.calls, Failing.last = 0, last
        result = train(objective, data, pairs(), settings, seed=0, checkpoints=tmp_path / folder)
        return result, objective.model.state_dict()

    _, peace = run("peace", 10**9)
    with pytest.raises(ConnectionError):
        run("cut", 5)
    result, resumed = run("cut", 10**9)
    assert result.resumed_from == 4
    assert all(torch.equal(peace[key], resumed[key]) for key in peace)
    moved = teacher().as_student().state_dict()
    assert not torch.equal(moved["network.embed.weight"], peace["network.embed.weight"])
