"""Distributional distillation: the student's draws score well against the teacher's samples."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from weir.distillation.objective import StudentObjective, energy_loss, fresh_draws
from weir.distillation.pairs import PairBatch


class EnergyObjective(StudentObjective):
    """Conditional fair energy score plus CRPS per coordinate; needs no pairing of noise and sample.

    For stochastic teachers, or where pairs are few; at least two draws per condition.
    """

    def loss(self, pairs: PairBatch, condition: Any, progress: float) -> Tensor:
        """Scores of the student's draws with the teacher's as truths."""
        return energy_loss(fresh_draws(self.model, pairs, condition), pairs.output)
