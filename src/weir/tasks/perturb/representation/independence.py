"""Terms that keep one thing out of a latent, given another that may go along with it.

Batches often differ in their cell types and perturbations. A latent that is made independent of
the batch outright loses these too; here it is only made independent within cells of the same type
under the same perturbation, and where a group lies in a single batch nothing is asked of it.

References:
    Song et al., Feature Selection via Dependence Maximization, JMLR 2012: the unbiased estimate.
    Ganin et al., Domain-Adversarial Training of Neural Networks, JMLR 2016.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

if TYPE_CHECKING:
    from weir.tasks.perturb.data.cells import Cells


def biology(cells: Cells) -> Tensor:
    """A number for each combination of cell type and doses among `cells`, `[cell]` int64."""
    # A random sum of the doses tells sets of doses apart, and is cheaper than sorting rows.
    generator = torch.Generator().manual_seed(0)
    weight = torch.rand(cells.doses.shape[1], generator=generator, dtype=torch.float64)
    key = (cells.doses * weight.to(cells.doses.device)).sum(1) + cells.cell_type * math.pi * 1e6
    return torch.unique(key, return_inverse=True)[1]


def conditional_hsic(z: Tensor, label: Tensor, stratum: Tensor, valid: Tensor) -> Tensor:
    """Mean over strata of the Hilbert-Schmidt independence criterion of `z` and `label`.

    The estimate of each stratum is unbiased, so around 0 for an independent pair whatever the
    number of cells; a stratum of fewer than four counts as 0. With a biased estimate the latent
    would shrink without end.

    Args:
        z: `[cell, d]`; its kernel is a mean of Gaussians of three widths.
        label: `[cell]` int64; its kernel is 1 for equal labels and else 0.
        stratum: `[cell]` int64.
        valid: `[cell]` bool, the cells that take part.
    """
    with torch.autocast(z.device.type, enabled=False):
        return (_gaussian(z.float()) * _weights(label, stratum, valid)).sum()


def _weights(label: Tensor, stratum: Tensor, valid: Tensor) -> Tensor:
    """What each pair of cells counts in the estimate, `[cell, cell]`, as it is linear in pairs."""
    together = (stratum[:, None] == stratum) & valid[:, None] & valid
    others = together.float().fill_diagonal_(0)
    equal = (label[:, None] == label) * others
    n = others.sum(1) + 1
    enough = n >= 4
    n = n.clamp(min=4)
    by_row = equal.sum(1) / (n - 2)
    by_stratum = (others @ by_row + by_row) / (n - 1)
    weights = others * (equal + (by_stratum - by_row)[:, None] - by_row)
    return weights * (enough / (n - 3) / valid.sum().clamp(min=1))[:, None]


def _gaussian(z: Tensor) -> Tensor:
    """Mean of Gaussian kernels, whose squared widths are 4, 1 and 1/4 of the mean squared distance.

    The widths follow the cells without gradient.
    """
    square = z.square().sum(1)
    distance = (square[:, None] + square).addmm(z, z.T, alpha=-2).clamp(min=0)
    width = distance.detach().mean().clamp(min=1e-12)
    wide = torch.exp(distance * (-0.25 / width))
    middle = wide.square().square()
    return (wide + middle + middle.square().square()) / 3


class BatchAdversary(nn.Module):
    """A classifier of the batch, whose gradient drives the batch out of what it is given.

    It is also told cell type and doses, so that it gains nothing from finding these in the latent.

    Args:
        width: width of the latent.
        batches: known batches, coded from 1.
        cell_types: known cell types, coded from 1.
        perturbations: perturbations with a dose each.
        hidden: width of the hidden layer.
    """

    def __init__(
        self, width: int, batches: int, cell_types: int, perturbations: int, hidden: int = 64
    ) -> None:
        super().__init__()
        self.cell_type = nn.Embedding(cell_types + 1, hidden)
        self.latent = nn.Linear(width, hidden)
        self.perturbation = nn.Linear(perturbations, hidden, bias=False)
        self.hidden = nn.Sequential(nn.SiLU(), nn.Linear(hidden, hidden), nn.SiLU())
        self.output = nn.Linear(hidden, batches)

    def forward(self, z: Tensor, cells: Cells) -> Tensor:
        """Mean cross-entropy of the known batches; its gradient by `z` has the other sign."""
        known = cells.batch > 0
        # Doses may span orders of magnitude.
        doses = torch.log1p(cells.doses)
        told = self.latent(_Reversed.apply(z)) + self.cell_type(cells.cell_type)
        logits = self.output(self.hidden(told + self.perturbation(doses)))
        target = (cells.batch - 1).clamp(min=0)
        loss = F.cross_entropy(logits, target, reduction="none") * known
        return loss.sum() / known.sum().clamp(min=1)


class _Reversed(torch.autograd.Function):
    """The identity, whose gradient is turned round."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x.view_as(x)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return -gradient
