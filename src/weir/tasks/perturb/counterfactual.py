"""Error of edited cells against their exact twins, which only a simulator knows."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from weir.tasks.perturb.expression import log_normalise

if TYPE_CHECKING:
    from weir.tasks.perturb.data import PerturbData
    from weir.tasks.perturb.generation import Made
    from weir.tasks.perturb.law import Law

MEAN, CELLS = "counterfactual_error", "counterfactual_error_cells"


class TwinError:
    """Root mean squared errors in units of those of no change: of mean shifts, and of cells.

    Squares are added up over responses before the ratio is taken: at a low dose twins are almost
    the cells that they are twins of, and a ratio of its own would rule the mean. A cell that is
    drawn errs by its own noise as well, so that of cells favours predictions that are averages.

    Args:
        data: the simulated cells.
        law: that they were drawn from.
    """

    def __init__(self, data: PerturbData, law: Law) -> None:
        self.data, self.law = data, law
        self._sums = torch.zeros(2, 2, dtype=torch.float64)

    def add(self, made: Made, target: Tensor) -> dict[str, float]:
        """Count the cells made of one response; returns its own ratios.

        Args:
            made: edited cells.
            target: `[perturbation]`, their doses.
        """
        rows = made.rows.cpu()
        wanted = target.cpu().expand(len(rows), -1)
        twins = self._expression(self.law.twins(rows, wanted).to(made.rows.device))
        before = self._expression(self.data.table.counts.rows(made.rows))
        sums = torch.tensor(
            [_squares(cells - twins) for cells in (made.cells.expression, before)],
            dtype=torch.float64,
        )
        self._sums += sums
        return _ratios(sums)

    def total(self) -> dict[str, float]:
        """The ratios over all responses."""
        return _ratios(self._sums)

    def _expression(self, counts: Tensor) -> Tensor:
        return log_normalise(counts, counts.sum(1).clamp(min=1), self.data.schema.scale)


def _squares(error: Tensor) -> list[float]:
    """Sum of squares of the mean cell's error, and of all cells'."""
    wide = error.double()
    return [float(wide.mean(0).square().sum()), float(wide.square().sum())]


def _ratios(sums: Tensor) -> dict[str, float]:
    """Of `[ours or unchanged, mean or cells]` sums of squares."""
    values = (sums[0] / sums[1]).sqrt().tolist()
    return {
        name: value if math.isfinite(value) else math.nan
        for name, value in zip((MEAN, CELLS), values, strict=True)
    }
