"""Mean-flow distillation: a student of any number of steps, from the teacher's own velocity."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from weir.distillation.objective import StudentObjective, pseudo_huber
from weir.distillation.pairs import PairBatch
from weir.flows.model import FlowModel
from weir.flows.paths import expand_time

_STANDING = 0.25
"""Share of the points where the step has no length, so that `u = v`."""


class MeanFlowObjective(StudentObjective):
    """`rho(u(x_r, r, t, c) - sg[v(x_r, r, c) + (t - r) d/dr u(x_r, r, t, c)])`.

    The mean velocity of a trajectory obeys `(t - r) u(x_r, r, t) = int_r^t v(x_s, s) ds`;
    differentiating in r along the trajectory (`dx_r/dr = v`, t fixed) gives the right side
    (Geng et al. 2025, "Mean Flows for One-step Generative Modeling", eq. 6, whose state is the
    step's end in their direction of time; here, with noise at 0, it is the step's start, hence the
    plus). v is the teacher's, where the paper, training from data, has the conditional velocity.

    The identity holds at every point, so that the law of x_r and of (r, t) only weights: x_r lies
    on the teacher's stored trajectories, linearly between their points, r is uniform below t, and
    t is the end for half of the pairs, else uniform. But it says only that `x_r + (t - r) u` is
    the same along a trajectory. That this is x_t follows from t = r alone, which a quarter of the
    pairs have; from them learning spreads to longer steps.

    Args:
        model: the student.
        teacher: the flow whose pairs are given; kept as it is.
        huber: constant of rho per dimension of an event.
        energy_weight: weight of the added energy loss.
    """

    def __init__(
        self,
        model: FlowModel,
        teacher: FlowModel,
        *,
        huber: float = 0.00054,
        energy_weight: float = 0.0,
    ) -> None:
        super().__init__(model, energy_weight=energy_weight)
        self.teacher = teacher.eval().requires_grad_(False)
        self.huber = huber

    def train(self, mode: bool = True) -> MeanFlowObjective:
        """As usual, but the teacher stays in evaluation mode."""
        super().train(mode)
        self.teacher.eval()
        return self

    def loss(self, pairs: PairBatch, condition: Any, progress: float) -> Tensor:
        """Distance of the student from the mean-flow identity."""
        shape = pairs.path.shape[:2]
        chance = torch.rand(4, *shape, device=pairs.path.device)
        t = torch.where(chance[0] < 0.5, 1.0, chance[1])
        r = chance[2] * t
        t = torch.where(chance[3] < _STANDING, r, t)
        x = between(pairs, r)
        with torch.no_grad():
            v = self.teacher.velocity(x, r, self.teacher.condition(pairs.batch))
        u, slope = mean_velocity(self.model, x, r, t, condition, v)
        target = v + expand_time(t - r, x) * slope
        return pseudo_huber(u - target, self.huber)


def mean_velocity(
    model: FlowModel, x: Tensor, r: Tensor, t: Tensor, condition: Any, v: Tensor
) -> tuple[Tensor, Tensor]:
    """A student's `u(x, r, t)` and, without gradient, its derivative in r along `dx/dr = v`.

    Forward-mode: the cost of about one more evaluation. Fused attention knows no forward
    derivative, the plain one does.

    Args:
        model: the student.
        x: `[condition, draw, *event]`.
        r: start of the step, `[condition, draw]`.
        t: its end, `[condition, draw]`.
        condition: the student's.
        v: velocity of x, of its shape.
    """
    with sdpa_kernel(SDPBackend.MATH):
        u, slope = torch.func.jvp(
            lambda x, r: model.jump(x, r, t, condition), (x, r), (v, torch.ones_like(r))
        )
    return u, slope.detach()


def between(pairs: PairBatch, time: Tensor) -> Tensor:
    """Points `[condition, draw, *event]` at `time`, `[condition, draw]`, of the stored paths."""
    times = pairs.times
    after = torch.searchsorted(times, time.contiguous()).clamp(1, len(times) - 1)
    begin, end = times[after - 1], times[after]
    here, there = pairs.point(after - 1), pairs.point(after)
    share = expand_time((time - begin) / (end - begin), here)
    return torch.lerp(here, there, share)
