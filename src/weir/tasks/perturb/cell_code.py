"""What flows and baselines ask of a first stage, whatever its architecture."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from torch import Tensor, nn

from weir.tasks.perturb.expression import log_normalise

if TYPE_CHECKING:
    from weir.tasks.perturb.cells import Cells
    from weir.tasks.perturb.vae import Posterior


class CellCode(nn.Module):
    """A code of cells: latents of a cell, and what a cell with given latents shows.

    Attributes:
        counted: whether decoded means are of counts. Such a code has `theta` `[gene]` and
            `draw(mean, generator)`, which gives counts; one without counts has
            `express(mean, cells, before)`, which gives expression.
        genes: number of genes.
        scale: library to which counts are normalised.
        d_int: width of the intrinsic latent.
        d_tech: width of the technical latent; may be 0.
    """

    counted: ClassVar[bool]
    genes: int
    scale: float
    d_int: int
    d_tech: int

    def expression(self, cells: Cells) -> Tensor:
        """Log-normalised counts `[cell, gene]`, which are encoded."""
        return log_normalise(cells.counts, cells.library, self.scale)

    def encode(self, cells: Cells) -> Posterior:
        """Laws of the latents of cells."""
        raise NotImplementedError

    def decode(self, z_int: Tensor, z_tech: Tensor, batch: Tensor, library: Tensor) -> Tensor:
        """Means of what cells with these latents show, `[..., gene]`.

        Args:
            z_int: `[..., d_int]`.
            z_tech: `[..., d_tech]`.
            batch: `[...]` int64 codes, 0 where unknown.
            library: `[...]`.
        """
        raise NotImplementedError

    def prior_tech(self, batch: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log-variance of `p(z_tech | batch)`, `[..., d_tech]` each."""
        raise NotImplementedError
