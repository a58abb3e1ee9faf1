"""Correction of decoded means by what is known of a context: its control cells."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class ContextRatio(nn.Module):
    """Factors per context and gene: what its control cells showed over what was decoded of them.

    An autoencoder smooths over contexts. Control cells are observed in every context, also in one
    whose perturbed cells are held out, so the smoothing can be measured there and undone in what
    is generated. Each count is weighed against `prior` counts that agree with the decoder.

    Args:
        contexts: number of contexts; 0 is none and keeps its factors at one.
        genes: number of genes.
        prior: counts of the decoder's own opinion.
    """

    log_ratio: Tensor

    def __init__(self, contexts: int, genes: int, prior: float = 5.0) -> None:
        super().__init__()
        self.prior = prior
        self.register_buffer("log_ratio", torch.zeros(contexts + 1, genes))

    def fit(self, observed: Tensor, decoded: Tensor) -> None:
        """Set the factors from sums over control cells, `[contexts + 1, gene]` each."""
        ratio = (observed + self.prior) / (decoded + self.prior)
        ratio[0] = 1
        self.log_ratio.copy_(ratio.log())

    def forward(self, rate: Tensor, place: Tensor) -> Tensor:
        """Corrected means `[cell, draw, gene]` that keep each cell's sum.

        Args:
            rate: `[cell, draw, gene]`.
            place: `[cell]` int64, context plus one, 0 for none.
        """
        corrected = rate * self.log_ratio[place].exp()[:, None]
        return corrected * (rate.sum(-1, keepdim=True) / corrected.sum(-1, keepdim=True))
