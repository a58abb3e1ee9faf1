"""A few control cells of every context that a model carries with it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from weir.tasks.perturb.cells import Cells

if TYPE_CHECKING:
    from weir.tasks.perturb.cells import CellSet


class ReferenceCells(nn.Module):
    """Training controls by context, so that a group's mean needs no company of the asked cell.

    Counts, not latents, are kept: in joint training the encoder changes under way.

    Args:
        contexts: number of contexts.
        most: cells of a context that are kept at most.
        genes: number of genes.
        perturbations: number of perturbations.
        niche: width of the spatial features.
    """

    counts: Tensor
    library: Tensor
    batch: Tensor
    cell_type: Tensor
    niche: Tensor
    held: Tensor

    def __init__(
        self, contexts: int, most: int, genes: int, perturbations: int, niche: int
    ) -> None:
        super().__init__()
        self.perturbations = perturbations
        shape = (contexts + 1, most)
        self.register_buffer("counts", torch.zeros(*shape, genes, dtype=torch.int32))
        self.register_buffer("library", torch.ones(shape))
        self.register_buffer("batch", torch.zeros(shape, dtype=torch.int64))
        self.register_buffer("cell_type", torch.zeros(shape, dtype=torch.int64))
        self.register_buffer("niche", torch.zeros(*shape, niche))
        self.register_buffer("held", torch.zeros(contexts + 1, dtype=torch.int64))

    @torch.no_grad()
    def fit(self, cells: CellSet, place: Tensor) -> None:
        """Take control cells, a random few where there are many; always the same ones.

        Args:
            cells: training cells.
            place: `[cell]` int64, context plus one, 0 for none.
        """
        most = self.counts.shape[1]
        generator = torch.Generator().manual_seed(0)
        for number in range(1, len(self.held)):
            found = ((place == number) & (cells.condition.to(place.device) == 0)).nonzero()[:, 0]
            order = torch.randperm(len(found), generator=generator)[:most].to(found.device)
            self.held[number] = len(order)
            if len(order):
                some = cells.batch(found[order])
                self.counts[number, : len(order)] = some.counts.to(torch.int32)
                for name in ("library", "batch", "cell_type", "niche"):
                    getattr(self, name)[number, : len(order)] = getattr(some, name)

    def of(self, place: int) -> Cells:
        """The cells of a context, given as its number plus one."""
        count = int(self.held[place])
        fields = (self.library, self.batch, self.cell_type)
        return Cells(
            self.counts[place, :count].float(),
            *(field[place, :count] for field in fields),
            self.library.new_zeros(count, self.perturbations),
            self.niche[place, :count],
        )
