"""Ceilings: predictions by one who knows the true cells, or the law that they are drawn from.

Neither is a responder: what they need is not in the source cells. Evaluation asks them in their
own way.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Self

import torch
from torch import Tensor

from weir.tasks.perturb.baselines.fitted import Fitted
from weir.tasks.perturb.simulation.law import Law

if TYPE_CHECKING:
    from weir.tasks.perturb.data.cells import Cells, CellSet
    from weir.tasks.perturb.data.load import PerturbData
    from weir.tasks.perturb.flow.responder import Generated


class Ceiling(Fitted):
    """Something that knows the truth; it has no state of its own."""

    estimand: ClassVar[str] = "population"

    def __init__(self) -> None:
        super().__init__()
        # A model folder needs at least one tensor.
        self.store(fitted=torch.zeros(()))

    def fit(self, data: PerturbData) -> Self:
        """There is nothing to learn."""
        return self

    def answer(
        self, sources: Cells, target: Tensor, generator: torch.Generator | None = None
    ) -> Generated:
        """It does not answer by source cells alone.

        Raises:
            TypeError: always.
        """
        raise TypeError(f"{type(self).__name__} is a ceiling, which only an evaluation can ask")


class SplitHalf(Ceiling):
    """One half of the true cells predicts the other half."""

    def halve(self, truth: CellSet, seed: int) -> tuple[CellSet, CellSet]:
        """Two random halves of the true cells: the prediction, and what it is scored on."""
        order = torch.randperm(len(truth), generator=torch.Generator().manual_seed(seed))
        half = len(truth) // 2
        return truth.subset(order[:half]), truth.subset(order[half:])


class Oracle(Ceiling):
    """The exact twins of simulated cells under the wanted doses."""

    estimand: ClassVar[str] = "edit"

    def fit(self, data: PerturbData) -> Self:
        """Nothing is learnt, but there has to be a law.

        Raises:
            UserError: the data is not simulated.
        """
        Law.load(data.folder)
        return self

    def edit(self, law: Law, rows: Tensor, target: Tensor) -> Tensor:
        """Counts `[cell, gene]` that source cells have under doses.

        Args:
            law: of the data.
            rows: `[cell]` int64, rows of the source cells.
            target: `[perturbation]`, doses.
        """
        return law.twins(rows.cpu(), target.cpu().expand(len(rows), -1)).to(rows.device)
