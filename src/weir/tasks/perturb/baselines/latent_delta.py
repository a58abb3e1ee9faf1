"""Vector arithmetic in the latent space of a first stage."""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

import torch
from torch import Tensor

from weir.tasks.perturb.baselines.compose import compose, distinct
from weir.tasks.perturb.baselines.fitted import Fitted
from weir.tasks.perturb.baselines.shifts import mean_changes
from weir.tasks.perturb.expression import log_normalise
from weir.tasks.perturb.profiles import profiles
from weir.tasks.perturb.responder import Generated

if TYPE_CHECKING:
    from weir.tasks.perturb.cell_code import CellCode
    from weir.tasks.perturb.cells import Cells
    from weir.tasks.perturb.data import PerturbData


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
        self.hold(seen=torch.zeros(0, 0), deltas=torch.zeros(0, 0))

    @torch.no_grad()
    def fit(self, data: PerturbData) -> Self:
        """Take the changes from the training cells."""
        groups = profiles(data.split("train"), lambda cells: self.vae.encode(cells).mean)
        self.hold(**mean_changes(groups, data.table.condition_doses))
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
