"""Consistency: all points of a trajectory are to lead to its end."""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import Tensor

from weir.distillation.objective import StudentObjective, pseudo_huber
from weir.distillation.pairs import PairBatch
from weir.flows.model import FlowModel
from weir.flows.paths import expand_time

Target = Literal["teacher", "data"]

_COARSEST, _FINEST = 4, 64
"""Intervals of time of consistency training, at its beginning and at its end."""


class ConsistencyObjective(StudentObjective):
    """`rho(f(x_s, s) - sg[f(x_t, t)])` for neighbours s < t; `f(x, t) = x + (1 - t) u(x, t, 1, c)`.

    f predicts the trajectory's end and is exact at t = 1 whatever the weights. Targets are of the
    student's own weights at the same dropout, without gradient and without an average (Song &
    Dhariwal 2024, "Improved Techniques for Training Consistency Models").

    * `teacher`: neighbours are stored points of a trajectory (consistency distillation; Song et
      al. 2023, "Consistency Models"). A target at the end is the stored output itself.
    * `data`: neighbours lie on the flow's path between fresh noise and a stored output, which
      serves as data (consistency training); the intervals of time double from 4 to 64.

    Args:
        model: the student.
        target: where neighbours come from.
        huber: constant of rho per dimension of an event.
        energy_weight: weight of the added energy loss.
    """

    def __init__(
        self,
        model: FlowModel,
        *,
        target: Target = "teacher",
        huber: float = 0.00054,
        energy_weight: float = 0.0,
    ) -> None:
        super().__init__(model, energy_weight=energy_weight)
        self.target: Target = target
        self.huber = huber

    def loss(self, pairs: PairBatch, condition: Any, progress: float) -> Tensor:
        """Distance between the ends predicted from neighbouring points."""
        if self.target == "teacher":
            s, t, here, there = self._stored(pairs)
        else:
            s, t, here, there = self._interpolated(pairs, condition, progress)
        # Both at once, as further draws: dropout of the condition is the same for them.
        x, times = torch.cat([here, there], 1), torch.cat([s, t], 1)
        early, late = self.ends(x, times, condition).chunk(2, 1)
        return pseudo_huber(early - late.detach(), self.huber)

    def ends(self, x: Tensor, t: Tensor, condition: Any) -> Tensor:
        """`f`: the ends predicted from `x`, `[condition, draw, *event]`, at `[condition, draw]`."""
        u = self.model.jump(x, t, torch.ones_like(t), condition)
        return x + expand_time(1 - t, x) * u

    def _stored(self, pairs: PairBatch) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        conditions, draws, points = pairs.path.shape[:3]
        at = torch.randint(points - 1, (conditions, draws), device=pairs.path.device)
        return pairs.times[at], pairs.times[at + 1], pairs.point(at), pairs.point(at + 1)

    def _interpolated(
        self, pairs: PairBatch, condition: Any, progress: float
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        data = pairs.output
        noise = self.model.source(condition, data.shape[1])
        count = intervals(progress)
        at = torch.randint(count, data.shape[:2], device=data.device)
        s, t = at / count, (at + 1) / count
        path = self.model.path
        return s, t, path.interpolate(noise, data, s), path.interpolate(noise, data, t)


def intervals(progress: float) -> int:
    """Intervals of time at a share of the training: doubled at equal distances."""
    doublings = (_FINEST // _COARSEST).bit_length()
    return _COARSEST * 2 ** min(int(progress * doublings), doublings - 1)
