"""Losses on a student's draws as a sample: they should score well against the teacher's.

Matching the means of samples alone is kept as the ablation that shows why that is not enough.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor
from torch.nn import functional

from weir.distillation.objective import StudentObjective, energy_loss, fresh_draws
from weir.distillation.pairs import PairBatch


class MatchMeanObjective(StudentObjective):
    """Squared distance between the means of the student's and the teacher's draws.

    The draws are independent, so their means differ by the noise of both; a student lowers the
    expected distance by giving up its own. Nothing in the loss asks for spread.
    """

    def loss(self, pairs: PairBatch, condition: Any, progress: float) -> Tensor:
        """Mean squared difference of the means over draws."""
        made = fresh_draws(self.model, pairs, condition)
        return functional.mse_loss(made.mean(1), pairs.output.mean(1))


class EnergyObjective(StudentObjective):
    """Conditional fair energy score plus CRPS per coordinate; needs no pairing of noise and sample.

    For stochastic teachers, or where pairs are few; at least two draws per condition.
    """

    def loss(self, pairs: PairBatch, condition: Any, progress: float) -> Tensor:
        """Scores of the student's draws with the teacher's as truths."""
        return energy_loss(fresh_draws(self.model, pairs, condition), pairs.output)
