"""Cells that a responder makes for one response of the data, checked and timed.

With a simulator also the error of edited cells against their exact twins, which only it knows.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from weir.errors import WeirError
from weir.metrics.latency import clock
from weir.tasks.perturb.baselines.pools import balanced_indices
from weir.tasks.perturb.flow.responder import Generated
from weir.tasks.perturb.representation.cell_code import log_normalise

if TYPE_CHECKING:
    from weir.tasks.perturb.baselines.ceilings import Oracle
    from weir.tasks.perturb.data.cells import CellSet
    from weir.tasks.perturb.data.load import PerturbData
    from weir.tasks.perturb.flow.responder import Responder
    from weir.tasks.perturb.simulation.law import Law

    pass


CHUNK = 2048
"""Cells generated at once."""


@dataclass(frozen=True)
class Made:
    """Generated cells of one response.

    Attributes:
        cells: the cells.
        rows: `[cell]` int64, rows of the data's table that they were made from.
        origin: `[cell]` int64, labels of cells that are not independent.
        seconds: time that making them took.
    """

    cells: Generated
    rows: Tensor
    origin: Tensor
    seconds: float


@torch.no_grad()
def generate(
    model: Responder,
    controls: CellSet,
    target: Tensor,
    samples: int,
    generator: torch.Generator,
    *,
    steps: int | None = None,
    solver: str | None = None,
    estimand: str | None = None,
    name: str = "",
) -> Made:
    """Make `samples` cells from control cells of one context.

    Args:
        model: in evaluation mode, on the device of the cells.
        controls: control cells; each serves as source as often as any other, give or take one.
        target: `[perturbation]`, doses.
        samples: cells to make.
        generator: source of randomness, on the device of the cells.
        steps: see `Responder.respond`.
        solver: see `Responder.respond`.
        estimand: see `Responder.respond`.
        name: of the response, for errors.

    Raises:
        WeirError: a cell is NaN or infinite, or there is no control cell.
    """
    if not len(controls):
        raise WeirError(f"evaluation: {name} has no control cells to start from")
    device = controls.rows.device
    sources = balanced_indices(len(controls), samples, generator).to(device)
    parts: list[Generated] = []
    begun = clock(device)
    for items in sources.split(CHUNK):
        batch = controls.batch(items)
        wanted = target.to(device).expand(len(items), -1)
        parts.append(
            model.respond(
                batch, wanted, steps=steps, solver=solver, estimand=estimand, generator=generator
            )
        )
    seconds = clock(device) - begun
    counts, origin = [part.counts for part in parts], [part.origin for part in parts]
    cells = Generated(torch.cat([part.expression for part in parts]), _joined(counts))
    if not torch.isfinite(cells.expression.sum(dtype=torch.float64)):
        bad = int((~cells.expression.isfinite()).any(dim=1).sum())
        raise WeirError(
            f"evaluation: {bad} of {samples} generated cells of {name} are NaN or infinite; the "
            "model has diverged"
        )
    made_of = _joined(origin)
    rows = controls.rows[sources]
    return Made(cells, rows, sources if made_of is None else made_of, seconds)


def measured(cells: CellSet, scale: float) -> Made:
    """True cells in the place of generated ones."""
    batch = cells.batch(torch.arange(len(cells)))
    expression = log_normalise(batch.counts, batch.library, scale)
    return Made(Generated(expression, batch.counts), cells.rows, cells.rows, 0.0)


def simulated(
    oracle: Oracle,
    law: Law,
    controls: CellSet,
    target: Tensor,
    samples: int,
    generator: torch.Generator,
    scale: float,
) -> Made:
    """The twins of control cells under other doses.

    Args:
        oracle: knows what they are.
        law: of the data.
        controls: control cells of one context.
        target: `[perturbation]`, doses.
        samples: cells to make.
        generator: source of randomness, on the device of the cells.
        scale: library to which counts are normalised.
    """
    device = controls.rows.device
    begun = clock(device)
    items = balanced_indices(len(controls), samples, generator).to(device)
    rows = controls.rows[items]
    counts = oracle.edit(law, rows, target)
    expression = log_normalise(counts, counts.sum(dim=1).clamp(min=1), scale)
    return Made(Generated(expression, counts), rows, rows, clock(device) - begun)


def _joined(parts: Sequence[Tensor | None]) -> Tensor | None:
    known = [part for part in parts if part is not None]
    return torch.cat(known) if len(known) == len(parts) else None


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
