"""Matching of sample means, kept as the ablation that shows why not."""

from __future__ import annotations

from typing import Any

from torch import Tensor
from torch.nn import functional

from weir.distillation.objective import StudentObjective, one_step
from weir.distillation.pairs import PairBatch


class MatchMeanObjective(StudentObjective):
    """Squared distance between the means of the student's and the teacher's draws.

    Nothing in it asks for spread: a student that ignores its noise attains the minimum.
    """

    def loss(self, pairs: PairBatch, condition: Any) -> Tensor:
        """Mean squared difference of the means over draws."""
        made = one_step(self.model, pairs.noise, condition)
        return functional.mse_loss(made.mean(1), pairs.output.mean(1))
