"""Interface of anything that predicts cells: a model, a student or a baseline."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol

import torch
from torch import Tensor

if TYPE_CHECKING:
    from weir.tasks.perturb.data.cells import Cells


class Generated(NamedTuple):
    """Cells that were made, one for each source cell.

    Attributes:
        expression: `[cell, gene]`, log-normalised.
        counts: `[cell, gene]`, where the model makes counts.
        origin: `[cell]` int64, labels of what the cells were made from, where that is not the
            source cell: two cells of one origin are not independent.
    """

    expression: Tensor
    counts: Tensor | None = None
    origin: Tensor | None = None


class Responder(Protocol):
    """Makes cells under a perturbation from control cells; an `nn.Module`."""

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
        """One cell for each source.

        Args:
            sources: control cells of one context.
            target: `[cell, perturbation]`, wanted doses.
            steps: solver or student steps, for models that have them.
            solver: solver, for models that have one.
            estimand: `population` (cells of the context) or `edit` (the same cells, perturbed);
                None takes the model's own.
            generator: source of randomness, on the device of the cells.
        """
        ...

    def nfe(self, steps: int | None = None, solver: str | None = None) -> int:
        """Network calls per cell; 0 for a responder without a network."""
        ...


def estimand_of(model: object, asked: str | None = None) -> str:
    """What a responder's cells are, `edit` or `population`.

    A baseline has no choice; a flow gives what is asked for, by default what it was trained for.
    """
    own = getattr(model, "estimand", None)
    if own is not None:
        return own
    return asked or ("edit" if getattr(model, "start", None) == "control" else "population")
