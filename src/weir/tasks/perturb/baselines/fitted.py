"""The base of baselines without a network, whose state is sized by fitting, and means over groups.

A group are the cells of one context under one condition.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, ClassVar, NamedTuple, Self

import torch
from torch import Tensor

from weir.networks.fitted import FittedModule

if TYPE_CHECKING:
    from weir.tasks.perturb.data.cells import Cells, CellSet
    from weir.tasks.perturb.data.load import PerturbData
    from weir.tasks.perturb.flow.responder import Generated


class Profiles(NamedTuple):
    """Groups of cells, in the order of their contexts and conditions.

    Attributes:
        context: `[group]` int64.
        condition: `[group]` int64; 0 for controls.
        cells: `[group]` int64, members.
        mean: `[group, feature]`, double precision.
    """

    context: Tensor
    condition: Tensor
    cells: Tensor
    mean: Tensor

    def control(self, context: int) -> Tensor:
        """Mean of a context's control cells, `[feature]`; of all contexts' where it has none."""
        controls = self.condition == 0
        own = controls & (self.context == context)
        return self.mean[own if own.any() else controls].mean(dim=0)

    def perturbed(self) -> Profiles:
        """The groups that are not controls."""
        return Profiles(*(part[self.condition > 0] for part in self))

    def changes(self) -> Tensor:
        """Mean change against the same context's controls, `[group, feature]` of `perturbed()`."""
        perturbed = self.perturbed()
        controls = [self.control(int(context)) for context in perturbed.context]
        return perturbed.mean - torch.stack(controls) if controls else perturbed.mean


def profiles(cells: CellSet, feature: Callable[[Cells], Tensor]) -> Profiles:
    """Mean feature of each group that is among the cells, in one pass.

    Args:
        cells: any.
        feature: of cells, `[cell, feature]`; their log-normalised expression, say.

    Raises:
        ValueError: there are no cells.
    """
    if not len(cells):
        raise ValueError("there are no cells to take means of")
    conditions = int(cells.condition.max()) + 1
    keys, group = (cells.context * conditions + cells.condition).unique(return_inverse=True)
    total: Tensor | None = None
    for items, batch in cells.all():
        values = feature(batch).double()
        if total is None:
            total = values.new_zeros(len(keys), values.shape[1])
        total.index_add_(0, group[items.to(group.device)].to(total.device), values)
    count, keys = group.bincount(minlength=len(keys)).to(total.device), keys.to(total.device)
    return Profiles(keys // conditions, keys % conditions, count, total / count[:, None])


class Fitted(FittedModule):
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
