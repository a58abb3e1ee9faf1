"""Error of edited cells against their exact twins, which only a simulator knows."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from torch import Tensor

from weir.tasks.perturb.expression import log_normalise

if TYPE_CHECKING:
    from weir.tasks.perturb.data import PerturbData
    from weir.tasks.perturb.generation import Made
    from weir.tasks.perturb.law import Law


class TwinError:
    """Root mean squared error over cells and genes, in units of that of no change.

    Responses are added up before the ratio is taken: at a low dose twins are almost the cells
    that they are twins of, and a ratio of its own would rule the mean.

    Args:
        data: the simulated cells.
        law: that they were drawn from.
    """

    def __init__(self, data: PerturbData, law: Law) -> None:
        self.data, self.law = data, law
        self._error = self._unchanged = 0.0

    def add(self, made: Made, target: Tensor) -> float:
        """Count the cells made of one response; returns its own ratio.

        Args:
            made: edited cells.
            target: `[perturbation]`, their doses.
        """
        rows = made.rows.cpu()
        wanted = target.cpu().expand(len(rows), -1)
        twins = self._expression(self.law.twins(rows, wanted).to(made.rows.device))
        before = self._expression(self.data.table.counts.rows(made.rows))
        error = float((made.cells.expression - twins).double().square().sum())
        unchanged = float((before - twins).double().square().sum())
        self._error += error
        self._unchanged += unchanged
        return _ratio(error, unchanged)

    def total(self) -> float:
        """The ratio over all responses."""
        return _ratio(self._error, self._unchanged)

    def _expression(self, counts: Tensor) -> Tensor:
        return log_normalise(counts, counts.sum(1).clamp(min=1), self.data.schema.scale)


def _ratio(error: float, unchanged: float) -> float:
    return math.sqrt(error / unchanged) if unchanged > 0 else math.nan
