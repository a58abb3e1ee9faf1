"""Cells of a responder for one response of the data, checked and timed."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from weir.errors import WeirError
from weir.tasks.perturb.deal import deal
from weir.tasks.perturb.expression import log_normalise
from weir.tasks.perturb.responder import Generated

if TYPE_CHECKING:
    from weir.tasks.perturb.baselines.ceilings import Oracle
    from weir.tasks.perturb.cells import CellSet
    from weir.tasks.perturb.law import Law
    from weir.tasks.perturb.responder import Responder

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
    sources = deal(len(controls), samples, generator).to(device)
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
    begun = time.perf_counter()
    items = deal(len(controls), samples, generator).to(controls.rows.device)
    rows = controls.rows[items]
    counts = oracle.edit(law, rows, target)
    expression = log_normalise(counts, counts.sum(dim=1).clamp(min=1), scale)
    return Made(Generated(expression, counts), rows, rows, time.perf_counter() - begun)


def clock(device: torch.device) -> float:
    """Seconds, once the device has finished what was asked of it."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()


def _joined(parts: Sequence[Tensor | None]) -> Tensor | None:
    known = [part for part in parts if part is not None]
    return torch.cat(known) if len(known) == len(parts) else None
