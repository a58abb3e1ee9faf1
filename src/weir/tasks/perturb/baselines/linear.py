"""Linear model of the change: genes' principal components x perturbations and context."""

from __future__ import annotations

from itertools import product
from typing import TYPE_CHECKING, Self

import torch
from torch import Tensor

from weir.tasks.perturb.baselines.fitted import Profiles, profiles
from weir.tasks.perturb.baselines.shifts import Shift
from weir.tasks.perturb.representation.cell_code import log_normalise

if TYPE_CHECKING:
    from weir.tasks.perturb.data.load import PerturbData

MAIN = (1.0, 10.0, 100.0)
"""Prior variances of a perturbation's own effect, in units of the residual's."""
INTERACTION = (0.0, 0.1, 1.0, 10.0, 100.0)
"""Prior variances of its interaction with the context, in the same units."""


class Linear(Shift):
    """Bilinear ridge regression `change = G W f` of Ahlmann-Eltze et al. 2025.

    G are the genes' loadings on the principal components of the training cells; f holds the
    logarithmic dose of each perturbation, alone and times the coordinates of the context's mean
    control cell. Both penalties are chosen by leaving out one training context at a time (one
    condition, where there is one context). W is kept in its dual form.
    """

    def __init__(self, scale: float) -> None:
        super().__init__(scale)
        matrix, row = torch.zeros(0, 0), torch.zeros(0)
        self.store(unit=row, centre=row, components=matrix, origin=row, spread=torch.ones(()))
        self.store(doses=matrix, contexts=matrix, coefficients=matrix, variances=torch.zeros(2))

    def fit(self, data: PerturbData) -> Self:
        """Solve for the weights on the training cells' mean changes."""
        scale = float(self.scale)
        groups = profiles(data.split("train"), lambda c: log_normalise(c.counts, c.library, scale))
        device = groups.mean.device
        self.store(
            unit=torch.tensor([unit or 1.0 for unit in data.schema.dose_scale], device=device),
            centre=data.pca.mean.to(device),
            components=data.pca.components.to(device),
        )
        perturbed = groups.perturbed()
        self._fit_contexts(groups)
        doses = self._dose(data.table.condition_doses[perturbed.condition])
        controls = torch.stack([groups.control(int(c)) for c in perturbed.context])
        contexts = self._context(controls)
        changes = groups.changes() @ self.components.double().T
        several = len(perturbed.context.unique()) > 1
        left_out = perturbed.context if several else perturbed.condition
        variances = _choose(doses, contexts, changes, left_out)
        kernel = _kernel(doses, contexts, doses, contexts, *variances)
        weights = torch.linalg.solve(kernel + torch.eye(len(kernel)).to(kernel), changes)
        self.store(
            doses=doses,
            contexts=contexts,
            coefficients=weights @ self.components.double(),
            variances=torch.tensor(variances, dtype=torch.float64, device=device),
        )
        return self

    def change(self, control: Tensor, target: Tensor) -> Tensor:
        """See `Shift.change`."""
        dose, context = self._dose(target[None]), self._context(control[None])
        kernel = _kernel(dose, context, self.doses, self.contexts, *self.variances.tolist())
        return (kernel @ self.coefficients)[0]

    def _fit_contexts(self, groups: Profiles) -> None:
        """Centre and spread of the contexts' mean control cells, each context once."""
        each = [groups.control(int(c)) for c in groups.context.unique()]
        scores = (torch.stack(each) - self.centre.double()) @ self.components.double().T
        spread = (scores - scores.mean(dim=0)).square().sum(dim=1).mean().sqrt()
        self.store(origin=scores.mean(dim=0), spread=torch.where(spread > 0, spread, 1.0))

    def _dose(self, doses: Tensor) -> Tensor:
        """Logarithmic doses `[row, perturbation]`, 1 at the typical one."""
        return torch.log2(1 + doses / self.unit).double()

    def _context(self, control: Tensor) -> Tensor:
        """Coordinates of mean control cells `[row, component]`, of mean square norm 1."""
        scores = (control.double() - self.centre.double()) @ self.components.double().T
        return (scores - self.origin) / self.spread


def _kernel(
    dose: Tensor, context: Tensor, doses: Tensor, contexts: Tensor, main: float, interaction: float
) -> Tensor:
    """Products of the features of two sets of rows, `[row, other row]`."""
    return (dose @ doses.T) * (main + interaction * (context @ contexts.T))


def _choose(
    doses: Tensor, contexts: Tensor, changes: Tensor, left_out: Tensor
) -> tuple[float, float]:
    """The prior variances with the least squared error on rows of one label left out in turn."""
    labels = left_out.unique()
    if len(labels) < 2:
        return MAIN[1], 0.0

    def error(variances: tuple[float, float]) -> float:
        kernel = _kernel(doses, contexts, doses, contexts, *variances)
        total = 0.0
        for label in labels:
            out = left_out == label
            inner = kernel[~out][:, ~out]
            weights = torch.linalg.solve(inner + torch.eye(len(inner)).to(inner), changes[~out])
            total += float((kernel[out][:, ~out] @ weights - changes[out]).square().sum())
        return total

    return min(product(MAIN, INTERACTION), key=error)
