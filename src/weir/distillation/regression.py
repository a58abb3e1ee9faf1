"""Regression on a deterministic teacher's pairs of noise and output.

From the noise alone it gives a student of one step, the default; from every stored knot of the
teacher's path, a student of one to several steps.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from weir.distillation.objective import StudentObjective, one_step, pseudo_huber
from weir.distillation.pairs import PairBatch
from weir.flows.model import FlowModel


class EndpointObjective(StudentObjective):
    """`rho(x_r + (t - r) u(x_r, r, t, c) - x_t)` between stored points of one trajectory.

    r is a random point but the last; t is the end for half of the pairs, else a random later point,
    which is what sampling in several steps needs. A quarter of the pairs start at the noise.

    Args:
        model: the student.
        huber: constant of rho per dimension of an event.
        energy_weight: weight of the added energy loss.
    """

    def __init__(
        self, model: FlowModel, *, huber: float = 0.00054, energy_weight: float = 0.0
    ) -> None:
        super().__init__(model, energy_weight=energy_weight)
        self.huber = huber

    def loss(self, pairs: PairBatch, condition: Any, progress: float) -> Tensor:
        """Distance of the student's jumps from the teacher's, between random knots."""
        conditions, draws, points = pairs.path.shape[:3]
        chance = torch.rand(4, conditions, draws, device=pairs.path.device)
        begin = (chance[0] * (points - 1)).long().clamp(max=points - 2)
        begin = torch.where(chance[1] < 0.25, 0, begin)
        later = begin + 1 + (chance[2] * (points - 1 - begin)).long()
        end = torch.where(chance[3] < 0.5, points - 1, later.clamp(max=points - 1))
        here, there = pairs.point(begin), pairs.point(end)
        r, t = pairs.times[begin], pairs.times[end]
        size = (t - r).reshape(conditions, draws, *(1,) * (here.ndim - 2))
        jumped = here + size * self.model.jump(here, r, t, condition)
        return pseudo_huber(jumped - there, self.huber)


class RegressionObjective(StudentObjective):
    """`rho(z + u(z, 0, 1, c) - y)` with a pseudo-Huber rho.

    Args:
        model: the student.
        huber: constant of rho per dimension of an event.
        energy_weight: weight of the added energy loss.
    """

    def __init__(
        self, model: FlowModel, *, huber: float = 0.00054, energy_weight: float = 0.0
    ) -> None:
        super().__init__(model, energy_weight=energy_weight)
        self.huber = huber

    def loss(self, pairs: PairBatch, condition: Any, progress: float) -> Tensor:
        """Distance of the student's outputs from the teacher's, for the same noise."""
        made = one_step(self.model, pairs.noise, condition)
        return pseudo_huber(made - pairs.output, self.huber)
