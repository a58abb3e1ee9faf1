"""Correction of decoded means by what is known of a context: its control cells."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class ContextAnchor(nn.Module):
    """Shift of each gene's level by what control cells of a context showed and were not decoded as.

    An autoencoder smooths over contexts. Control cells are observed in every context, also in one
    whose perturbed cells are held out, so the smoothing can be measured there and be undone in
    what is generated. Levels are `v = log(share * scale + offset)`; a share is moved to the level
    `v + strength * (observed - decoded)`, both of means over the context's control cells.
    With strength 1 and offset 0 it is a factor on each gene, which is too much for a gene that is
    rare in control cells: a ratio of two small numbers says nothing of the induced level.

    Args:
        contexts: number of contexts; 0 is none, and shifts nothing.
        genes: number of genes.
        scale: library in whose units the offset is.
        strength: share of the difference that is carried over, 0 to 1.
        offset: counts per `scale` below which a level counts as low.
    """

    shift: Tensor

    def __init__(
        self, contexts: int, genes: int, scale: float, *, strength: float, offset: float
    ) -> None:
        super().__init__()
        self.strength, self.least = strength, offset / scale
        self.register_buffer("shift", torch.zeros(contexts + 1, genes))

    def fit(self, observed: Tensor, decoded: Tensor) -> None:
        """Set the shifts from counts of control cells, summed by context.

        Args:
            observed: `[contexts + 1, gene]`, a context without cells is all zeros.
            decoded: their decoded means, likewise.
        """
        total = observed.sum(-1, keepdim=True)
        levels = [
            (sums / sums.sum(-1, keepdim=True).clamp_min(1e-12) + self.least).log()
            for sums in (observed, decoded)
        ]
        shift = self.strength * (levels[0] - levels[1])
        shift = torch.where(total > 0, shift, 0.0)
        shift[0] = 0
        self.shift.copy_(shift)

    def forward(self, rate: Tensor, place: Tensor) -> Tensor:
        """Corrected means `[cell, draw, gene]` that keep each cell's sum.

        Args:
            rate: `[cell, draw, gene]`.
            place: `[cell]` int64, context plus one, 0 for none.
        """
        total = rate.sum(-1, keepdim=True)
        least = self.least * total
        corrected = (rate + least) * self.shift[place].exp()[:, None] - least
        # A level below the offset's would be a negative share; a tenth of the decoded one is low.
        corrected = torch.maximum(corrected, 0.1 * rate)
        return corrected * (total / corrected.sum(-1, keepdim=True))
