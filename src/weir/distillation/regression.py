"""Regression on a deterministic teacher's pairs: the default way to a one-step student."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from weir.distillation.objective import StudentObjective, one_step, pseudo_huber
from weir.distillation.pairs import PairBatch
from weir.flows.model import FlowModel


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
