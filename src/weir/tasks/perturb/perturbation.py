"""Perturbation adapter: doses and context to a vector that is zero without a perturbation."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

DoseCurve = Literal["hill", "log", "hill_and_log"]


class DoseFeatures(nn.Module):
    """Curves of a dose, each zero at dose 0.

    * `hill`: `d^s / (EC50^s + d^s)` with a learnt EC50 and slope s of each perturbation, both
      positive: increasing and saturating.
    * `log`: `log(1 + d)`: increasing without bound.
    * `hill_and_log`: both, each with an embedding of its own; an effect may then turn round.

    Doses are divided by a unit per perturbation first, so that those of the data are of order one.

    Args:
        unit: `[perturbation]`, positive.
        curve: which.
    """

    unit: Tensor

    def __init__(self, unit: Tensor, curve: DoseCurve = "hill") -> None:
        super().__init__()
        if curve not in ("hill", "log", "hill_and_log"):
            raise ValueError(f"unknown dose curve {curve!r}; known: hill, log, hill_and_log")
        self.curve = curve
        self.count = 2 if curve == "hill_and_log" else 1
        self.register_buffer("unit", unit.float().clone())
        if curve != "log":
            self.log_ec50 = nn.Parameter(torch.zeros(len(unit)))
            self.log_slope = nn.Parameter(torch.zeros(len(unit)))

    def forward(self, doses: Tensor) -> Tensor:
        """`[cell, perturbation]` to `[cell, perturbation, curve]`."""
        relative = doses / self.unit
        curves = []
        if self.curve != "log":
            present = doses > 0
            # log 0 never arises, so that neither does the NaN of its gradient.
            log = torch.where(present, relative, 1.0).log()
            hill = torch.sigmoid(self.log_slope.exp() * (log - self.log_ec50))
            curves.append(torch.where(present, hill, 0.0))
        if self.curve != "hill":
            curves.append(torch.log1p(relative))
        return torch.stack(curves, -1)


class PerturbationAdapter(nn.Module):
    """`alpha(doses, context)`, exactly zero where all doses are zero, whatever the context.

    The set of perturbations enters as a sum of dose curves times embeddings, plus a factorised
    term for each pair that is present together (Rendle 2010, "Factorization Machines"), all
    without biases; a positive gate of the context scales the coordinates.

    Args:
        unit: `[perturbation]`, unit of each perturbation's dose.
        context: width of contexts.
        width: width of alpha.
        curve: dose curve, see `DoseFeatures`.
        interaction: rank of the pairwise term; 0 for none.
    """

    def __init__(
        self,
        unit: Tensor,
        context: int,
        *,
        width: int = 32,
        curve: DoseCurve = "hill",
        interaction: int = 8,
    ) -> None:
        super().__init__()
        self.doses = DoseFeatures(unit, curve)
        self.width = width
        self.effect = nn.Parameter(torch.randn(len(unit), self.doses.count, width))
        self.factor = self.mix = None
        if interaction:
            shape = (len(unit), self.doses.count, interaction)
            self.factor = nn.Parameter(torch.randn(shape) / interaction**0.5)
            self.mix = nn.Linear(interaction, width, bias=False)
        self.gate = nn.Linear(context, width)
        nn.init.zeros_(self.gate.weight)
        nn.init.zeros_(self.gate.bias)

    def forward(self, doses: Tensor, context: Tensor) -> Tensor:
        """`alpha`, `[cell, width]`.

        Args:
            doses: `[cell, perturbation]`, in the data's units, zero where absent.
            context: `[cell, context]`.
        """
        curves = self.doses(doses)
        alpha = torch.einsum("npf,pfw->nw", curves, self.effect)
        if self.factor is not None and self.mix is not None:
            alpha = alpha + self.mix(self._pairs(curves))
        return alpha * (2 * torch.sigmoid(self.gate(context)))

    def _pairs(self, curves: Tensor) -> Tensor:
        """Sum over pairs i < j of the product of their factors, `[cell, rank]`.

        With less than two perturbations it is exactly zero: both sums then have one term.
        """
        assert self.factor is not None
        single = (curves[..., None] * self.factor).sum(2)
        return (single.sum(1).square() - single.square().sum(1)) / 2
