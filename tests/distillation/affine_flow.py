"""A conditional flow whose velocity, samples and one-step student are known in closed form."""

from __future__ import annotations

import copy
from typing import NamedTuple

import torch
from torch import Tensor, nn

from weir.distillation.pairs import PairSet, knot_times, sample_pairs
from weir.flows.model import FlowModel
from weir.flows.paths import Path


class ToyBatch(NamedTuple):
    """`centre`: `[batch, 2]`."""

    centre: Tensor


class ToyCondition(NamedTuple):
    """`centre`: `[condition, 2]`."""

    centre: Tensor


class ToyData:
    """Conditions numbered 0 to 49, with centres on a line."""

    def __init__(self) -> None:
        self.centres = torch.linspace(-1, 1, 50)[:, None] * torch.tensor([1.0, -2.0])

    def __len__(self) -> int:
        return len(self.centres)

    def to(self, device: object) -> ToyData:
        return self

    def batch(self, items: Tensor) -> ToyBatch:
        return ToyBatch(self.centres[items])


class ToyFlow(FlowModel):
    """`dx/dt = a (centre + s x)`; a and s are the only weights.

    With a = 1, noise z ends at `centre (e^s - 1) / s + e^s z`, which an affine student can match.
    """

    event = (2,)
    path = Path("linear")
    steps = 50
    solver = "heun"

    def __init__(self, slope: float = -0.5) -> None:
        super().__init__()
        self.push = nn.Parameter(torch.tensor(1.0))
        self.slope = nn.Parameter(torch.tensor(slope))
        self.by_step = nn.Parameter(torch.zeros(2))

    def as_student(self) -> ToyFlow:
        student = copy.deepcopy(self)
        student.student = True
        return student

    def condition(self, batch: ToyBatch) -> ToyCondition:
        return ToyCondition(batch.centre)

    def colour(self, white: Tensor, condition: ToyCondition) -> Tensor:
        return white

    def velocity(
        self, x: Tensor, t: Tensor, condition: ToyCondition, step: Tensor | None = None
    ) -> Tensor:
        push, slope = self.push, self.slope
        if step is not None:
            size = step.reshape(step.shape + (1,) * (x.ndim - step.ndim)) if step.ndim else step
            push, slope = push + self.by_step[0] * size, slope + self.by_step[1] * size
        return push * condition.centre[:, None] + slope * x

    def decode(self, x: Tensor, condition: ToyCondition) -> Tensor:
        return x


def teacher() -> ToyFlow:
    """The toy teacher whose pairs `collect` returns."""
    return ToyFlow().eval()


def exact(flow: ToyFlow, noise: Tensor, centre: Tensor) -> Tensor:
    """Where the flow ends."""
    slope = flow.slope.detach()
    return centre[:, None] * (slope.exp() - 1) / slope + slope.exp() * noise


def collect(chunk: int = 2_000_000, items: torch.Tensor | None = None, knots: int = 0) -> PairSet:
    """Pairs of the toy teacher, three draws of each condition."""
    flow, data = teacher(), ToyData()
    items = torch.arange(50) if items is None else items
    parts = list(
        sample_pairs(
            flow, data, items, draws=3, seed=7, steps=50, solver="heun", knots=knots, chunk=chunk
        )
    )
    return PairSet(
        data,
        torch.cat([p.items for p in parts]),
        torch.cat([p.output for p in parts]),
        torch.cat([p.knots for p in parts]),
        knot_times(50, knots),
        seed=7,
    )
