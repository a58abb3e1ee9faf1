"""Codes of cells: what flows and baselines ask of a first stage, whatever its architecture.

Cells are compared as log-normalised expression.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, NamedTuple

import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from weir.tasks.perturb.data.cells import Cells

    pass


class Posterior(NamedTuple):
    """Normal laws of a cell's latents.

    Attributes:
        mean: `[cell, d_int]`, of the intrinsic latent.
        log_variance: `[cell, d_int]`, in [-10, 10]; minus infinity of a latent that is exact.
        tech_mean: `[cell, d_tech]`, of the technical latent.
        tech_log_variance: `[cell, d_tech]`, in [-10, 10].
    """

    mean: Tensor
    log_variance: Tensor
    tech_mean: Tensor
    tech_log_variance: Tensor

    def sample(self, generator: torch.Generator | None = None) -> tuple[Tensor, Tensor]:
        """One draw of `z_int` and `z_tech`."""
        return (
            normal_draw(self.mean, self.log_variance, generator),
            normal_draw(self.tech_mean, self.tech_log_variance, generator),
        )


def normal_draw(
    mean: Tensor, log_variance: Tensor, generator: torch.Generator | None = None
) -> Tensor:
    """A draw of independent normals, in the shape of `mean`."""
    noise = torch.empty_like(mean).normal_(generator=generator)
    return mean + (0.5 * log_variance).exp() * noise


def normal_kl(
    mean: Tensor, log_variance: Tensor, prior_mean: Tensor, prior_log_variance: Tensor
) -> Tensor:
    """Kullback-Leibler divergence of one normal law from another, elementwise, in nats."""
    shift = (mean - prior_mean).square() * (-prior_log_variance).exp()
    difference = log_variance - prior_log_variance
    return 0.5 * (difference.exp() - 1 - difference + shift)


def log_normalise(counts: Tensor, library: Tensor, scale: float) -> Tensor:
    """`log1p(counts / library * scale)`.

    Args:
        counts: `[..., gene]`, counts or their means.
        library: `[...]`, totals of the cells.
        scale: the library that all cells are brought to.

    Returns:
        `[..., gene]`; a cell without any count has no expression (zeros, not NaN).
    """
    factor = scale / library.clamp(min=1e-12)
    return (counts * factor[..., None]).log1p()


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
