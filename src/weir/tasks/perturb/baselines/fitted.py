"""What baselines share: a state that fitting sizes, and no network."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Self

import torch
from torch import Tensor

from weir.networks.held import Held

if TYPE_CHECKING:
    from weir.tasks.perturb.cells import Cells
    from weir.tasks.perturb.data import PerturbData
    from weir.tasks.perturb.responder import Generated


class Fitted(Held):
    """A baseline whose buffers take their shapes from the data, or from saved weights.

    Attributes:
        estimand: what its cells are: `edit`s of the sources, or cells of a `population`.
    """

    estimand: ClassVar[str] = "edit"

    def fit(self, data: PerturbData) -> Self:
        """Take what is needed from the training cells."""
        raise NotImplementedError

    def answer(
        self, sources: Cells, target: Tensor, generator: torch.Generator | None = None
    ) -> Generated:
        """One cell for each source, of `estimand`; see `Responder.respond`."""
        raise NotImplementedError

    def respond(
        self,
        sources: Cells,
        target: Tensor,
        *,
        steps: int | None = None,
        solver: str | None = None,
        estimand: str | None = None,
        generator: torch.Generator | None = None,
    ) -> Generated:
        """See `Responder.respond`; there are no steps, and the estimand is the baseline's own."""
        return self.answer(sources, target, generator)

    def nfe(self, steps: int | None = None, solver: str | None = None) -> int:
        """No network is called."""
        return 0
