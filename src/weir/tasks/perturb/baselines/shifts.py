"""Baselines that add one change to every control cell: none, additive, in PCA space, or in the
latent space of a first stage.

Of an unseen dose or combination the change is a weighted sum of those of seen conditions.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

import torch
from torch import Tensor

from weir.tasks.perturb.baselines.fitted import Fitted, Profiles, profiles
from weir.tasks.perturb.flow.responder import Generated
from weir.tasks.perturb.representation.cell_code import log_normalise

if TYPE_CHECKING:
    from weir.tasks.perturb.data.cells import Cells
    from weir.tasks.perturb.data.load import PerturbData
    from weir.tasks.perturb.representation.cell_code import CellCode


def compose(target: Tensor, seen: Tensor) -> Tensor:
    """Weights of the seen conditions whose effects, so added, make up the target.

    * A seen condition is itself.
    * A dose of one perturbation lies between its nearest seen doses, linearly in the logarithm of
      the dose; beyond the largest it is that one, below the smallest proportional to the dose.
    * A combination is the sum of its perturbations.
    * A perturbation that was seen only in combinations is their mean, at the nearest dose; one
      that was never seen is the mean of all conditions.

    Args:
        target: `[perturbation]`, doses.
        seen: `[condition, perturbation]`, doses of at least one condition, none all zero.

    Returns:
        `[condition]`, single precision; all zero for a target without a perturbation.
    """
    weights = torch.zeros(len(seen), device=seen.device)
    same = (seen == target).all(dim=1)
    if same.any():
        weights[same.nonzero()[0, 0]] = 1.0
        return weights
    for perturbation in target.nonzero()[:, 0].tolist():
        weights += _single(perturbation, float(target[perturbation]), seen)
    return weights


def _single(perturbation: int, dose: float, seen: Tensor) -> Tensor:
    """Weights for one dose of one perturbation."""
    weights = torch.zeros(len(seen), device=seen.device)
    has = seen[:, perturbation] > 0
    alone = has & ((seen > 0).sum(dim=1) == 1)
    if not has.any():
        return torch.full_like(weights, 1 / len(seen))
    rows = (alone if alone.any() else has).nonzero()[:, 0]
    doses = seen[rows, perturbation].double()
    if not alone.any():
        distance = (doses.log() - torch.tensor(dose).double().log()).abs()
        nearest = rows[distance <= distance.min() + 1e-9]
        weights[nearest] = 1 / len(nearest)
        return weights
    order = doses.argsort()
    rows, doses = rows[order], doses[order]
    above = int((doses < dose).sum())
    if above == 0:
        weights[rows[0]] = dose / float(doses[0])
    elif above == len(rows):
        weights[rows[-1]] = 1.0
    else:
        low, high = doses[above - 1].log(), doses[above].log()
        share = float((torch.tensor(dose).double().log() - low) / (high - low))
        weights[rows[above - 1]], weights[rows[above]] = 1 - share, share
    return weights


def distinct(target: Tensor) -> list[tuple[Tensor, Tensor]]:
    """Each different row `[perturbation]` of the targets, and the items `[n]` that have it."""
    rows, which = target.unique(dim=0, return_inverse=True)
    return [(row, (which == k).nonzero()[:, 0]) for k, row in enumerate(rows)]


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
        self.store(seen=torch.zeros(0, 0), deltas=torch.zeros(0, 0))

    def fit(self, data: PerturbData) -> Self:
        """Take the changes from the training cells."""
        scale = float(self.scale)
        groups = profiles(data.split("train"), lambda c: log_normalise(c.counts, c.library, scale))
        self.store(**mean_changes(groups, data.table.condition_doses))
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
        self.store(deltas=self.deltas @ components.T @ components)
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


class LatentDelta(Fitted):
    """scGen (Lotfollahi et al. 2019): the mean change of `z_int`, added to each source cell.

    The technical latent, batch and library stay those of the source; counts are drawn. On a linear
    code of expression it is `delta_pca`: what of the source cell lies outside of the code stays.

    Args:
        vae: trained stage-1 model.
        scale: library to which counts are normalised.
    """

    def __init__(self, vae: CellCode, scale: float) -> None:
        super().__init__()
        self.vae = vae.requires_grad_(False).eval()
        self.scale = scale
        self.store(seen=torch.zeros(0, 0), deltas=torch.zeros(0, 0))

    @torch.no_grad()
    def fit(self, data: PerturbData) -> Self:
        """Take the changes from the training cells."""
        groups = profiles(data.split("train"), lambda cells: self.vae.encode(cells).mean)
        self.store(**mean_changes(groups, data.table.condition_doses))
        return self

    @torch.no_grad()
    def answer(
        self, sources: Cells, target: Tensor, generator: torch.Generator | None = None
    ) -> Generated:
        """See `Fitted.answer`."""
        posterior = self.vae.encode(sources)
        latent = posterior.mean.clone()
        for wanted, items in distinct(target):
            latent[items] += compose(wanted, self.seen) @ self.deltas
        nuisance = posterior.tech_mean, sources.batch, sources.library
        mean = self.vae.decode(latent, *nuisance)
        if not self.vae.counted:
            before = self.vae.decode(posterior.mean, *nuisance)
            return Generated(self.vae.express(mean, sources, before))
        counts = self.vae.draw(mean, generator)
        # As of a measured cell, the library is what was counted.
        library = counts.sum(dim=1).clamp(min=1)
        return Generated(log_normalise(counts, library, self.scale), counts)

    def nfe(self, steps: int | None = None, solver: str | None = None) -> int:
        """One call of the autoencoder."""
        return 1
