"""The ceiling of real data: one half of the true cells predicts the other."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Self

import torch
from torch import Tensor

from weir.tasks.perturb.baselines.fitted import Fitted

if TYPE_CHECKING:
    from weir.tasks.perturb.cells import Cells, CellSet
    from weir.tasks.perturb.data import PerturbData
    from weir.tasks.perturb.responder import Generated


class SplitHalf(Fitted):
    """Stands for the truth itself: evaluation gives it the true cells, which it halves."""

    estimand: ClassVar[str] = "population"

    def __init__(self) -> None:
        super().__init__()
        # A model folder needs at least one tensor.
        self.hold(fitted=torch.zeros(()))

    def fit(self, data: PerturbData) -> Self:
        """There is nothing to learn."""
        return self

    def halve(self, truth: CellSet, seed: int) -> tuple[CellSet, CellSet]:
        """Two random halves of the true cells: the prediction, and what it is scored on."""
        order = torch.randperm(len(truth), generator=torch.Generator().manual_seed(seed))
        half = len(truth) // 2
        return truth.subset(order[:half]), truth.subset(order[half:])

    def respond(self, sources: Cells, target: Tensor, **options: object) -> Generated:
        """It has no cells of its own.

        Raises:
            TypeError: always.
        """
        raise TypeError("the split-half ceiling predicts true cells by true cells: use halve")
