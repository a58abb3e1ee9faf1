"""Baselines that add one change to every control cell: none, additive, and in PCA space."""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

import torch
from torch import Tensor

from weir.tasks.perturb.baselines.compose import compose, distinct
from weir.tasks.perturb.baselines.fitted import Fitted
from weir.tasks.perturb.expression import log_normalise
from weir.tasks.perturb.profiles import Profiles, profiles
from weir.tasks.perturb.responder import Generated

if TYPE_CHECKING:
    from weir.tasks.perturb.cells import Cells
    from weir.tasks.perturb.data import PerturbData


class NoChange(Fitted):
    """The source cells themselves.

    Args:
        scale: library to which counts are normalised.
    """

    def __init__(self, scale: float) -> None:
        super().__init__()
        # A model folder needs at least one tensor.
        self.register_buffer("scale", torch.tensor(scale, dtype=torch.float64))

    def fit(self, data: PerturbData) -> Self:
        """There is nothing to learn."""
        return self

    def answer(
        self, sources: Cells, target: Tensor, generator: torch.Generator | None = None
    ) -> Generated:
        """See `Fitted.answer`."""
        expression = log_normalise(sources.counts, sources.library, float(self.scale))
        return Generated(expression, sources.counts)


class Shift(NoChange):
    """Adds to each cell a change that depends on the target and on the sources' mean.

    The result is clipped at zero, below which no log-normalised expression lies.
    """

    def change(self, control: Tensor, target: Tensor) -> Tensor:
        """Change `[gene]` for a target `[perturbation]`, given the sources' mean `[gene]`."""
        raise NotImplementedError

    def answer(
        self, sources: Cells, target: Tensor, generator: torch.Generator | None = None
    ) -> Generated:
        """See `Fitted.answer`."""
        expression = log_normalise(sources.counts, sources.library, float(self.scale))
        changed = expression.clone()
        control = expression.mean(dim=0)
        for wanted, items in distinct(target):
            changed[items] += self.change(control, wanted).to(expression)
        return Generated(changed.clamp_(min=0))


class Additive(Shift):
    """The mean change under each perturbation, added up.

    The change under a condition is the mean over training contexts (each counts alike) of
    perturbed mean - control mean; see `compose` for unseen conditions.
    """

    def __init__(self, scale: float) -> None:
        super().__init__(scale)
        self.hold(seen=torch.zeros(0, 0), deltas=torch.zeros(0, 0))

    def fit(self, data: PerturbData) -> Self:
        """Take the changes from the training cells."""
        scale = float(self.scale)
        groups = profiles(data.split("train"), lambda c: log_normalise(c.counts, c.library, scale))
        self.hold(**mean_changes(groups, data.table.condition_doses))
        return self

    def change(self, control: Tensor, target: Tensor) -> Tensor:
        """See `Shift.change`."""
        return compose(target, self.seen) @ self.deltas


class DeltaPca(Additive):
    """The same in the space of principal components; what lies outside of it stays as it is.

    The linear counterpart of scGen (Lotfollahi et al. 2019): the change of the coordinates is
    projected back, and added to the cell.
    """

    def fit(self, data: PerturbData) -> Self:
        """Take the changes from the training cells."""
        super().fit(data)
        components = data.pca.components.to(self.deltas)
        self.hold(deltas=self.deltas @ components.T @ components)
        return self


def mean_changes(groups: Profiles, doses: Tensor) -> dict[str, Tensor]:
    """Changes under each seen condition, mean over contexts.

    Args:
        groups: of training cells.
        doses: `[condition, perturbation]` of all conditions.

    Returns:
        `seen`, doses `[seen condition, perturbation]`, and `deltas` `[seen condition, feature]`.
    """
    changes, conditions = groups.changes(), groups.perturbed().condition
    known = conditions.unique()
    deltas = torch.stack([changes[conditions == k].mean(dim=0) for k in known])
    return {"seen": doses[known], "deltas": deltas.float()}
