"""Linear code of cells: principal components of expression, or the genes themselves.

A flow on it is the ablation of the autoencoder of counts: nothing is trained, there is no technical
latent and there are no counts. It makes log-normalised expression only.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from weir.errors import UserError
from weir.tasks.perturb.representation.cell_code import CellCode, Posterior

if TYPE_CHECKING:
    from weir.tasks.perturb.data.cells import Cells, CellSet

NEGLIGIBLE = 1e-10
"""Variance of a component, as a share of the largest, below which it is rounding."""


class LinearCode(CellCode):
    """Orthogonal projection of log-normalised expression, fitted in closed form.

    The latent of a cell is exact: its posterior has no width (a log-variance of minus infinity).
    The technical latent is empty.

    Args:
        genes: number of genes.
        scale: library to which counts are normalised.
        components: principal components; None codes every gene as itself.
    """

    counted = False
    mean: Tensor
    components: Tensor | None

    def __init__(self, genes: int, scale: float, components: int | None) -> None:
        super().__init__()
        self.genes, self.scale = genes, scale
        self.d_int, self.d_tech = genes if components is None else components, 0
        self.register_buffer("mean", torch.zeros(genes))
        shape = None if components is None else torch.zeros(components, genes)
        self.register_buffer("components", shape)

    @torch.no_grad()
    def fit(self, cells: CellSet) -> None:
        """Take mean and components from training cells, which are read twice, in pieces.

        Raises:
            UserError: the cells vary in fewer directions than there are components.
        """
        total = torch.zeros(self.genes, dtype=torch.float64, device=cells.rows.device)
        for _, piece in cells.all():
            total += self.expression(piece).sum(0, dtype=torch.float64)
        mean = total / len(cells)
        self.mean.copy_(mean)
        if self.components is None:
            return
        square = torch.zeros(self.genes, self.genes, dtype=torch.float64, device=total.device)
        for _, piece in cells.all():
            centred = self.expression(piece).double() - mean
            square.addmm_(centred.T, centred)
        variance, axes = torch.linalg.eigh(square)
        rank = int((variance > NEGLIGIBLE * variance[-1]).sum())
        if rank < self.d_int:
            raise UserError(
                f"stage1.components: is {self.d_int}, but the training cells vary in {rank} "
                "directions only; lower it, or set it to null to code genes as themselves"
            )
        axes = axes.T.flip(0)[: self.d_int]
        # An axis has no direction of its own; its largest entry shall be positive.
        largest = axes.gather(1, axes.abs().argmax(1, keepdim=True))
        self.components.copy_(axes * largest.sign())

    def encode(self, cells: Cells) -> Posterior:
        """Coordinates of cells, without spread."""
        found = self.expression(cells) - self.mean
        if self.components is not None:
            found = found @ self.components.T
        nothing = found.new_zeros(len(found), 0)
        return Posterior(found, torch.full_like(found, -torch.inf), nothing, nothing)

    def decode(self, z_int: Tensor, z_tech: Tensor, batch: Tensor, library: Tensor) -> Tensor:
        """Mean log-normalised expression `[..., gene]`, which may be negative.

        Only `z_int` matters: batch and library have left no trace.
        """
        return self.mean + (z_int if self.components is None else z_int @ self.components)

    def prior_tech(self, batch: Tensor) -> tuple[Tensor, Tensor]:
        """The law of nothing, `[..., 0]` twice."""
        nothing = self.mean.new_zeros(*batch.shape, 0)
        return nothing, nothing

    def express(
        self, mean: Tensor, cells: Cells | None = None, before: Tensor | None = None
    ) -> Tensor:
        """Log-normalised expression `[cell, gene]`, clipped at zero, below which none lies.

        Args:
            mean: `[cell, gene]`, decoded.
            cells: with them, what a cell has beyond its own mean `before` is kept, as count noise
                is with a code of counts; equal means give back the very expression.
            before: `[cell, gene]`, their decoded means.
        """
        if cells is not None:
            mean = self.expression(cells) + (mean - before)
        return mean.clamp_min(0)
