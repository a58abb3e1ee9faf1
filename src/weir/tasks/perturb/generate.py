"""Generated cells: from source cells and wanted doses to counts."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from weir.errors import UserError
from weir.flows.solvers import SolverName, require_finite
from weir.tasks.perturb.carry import carry_over
from weir.tasks.perturb.expression import log_normalise
from weir.tasks.perturb.latents import posterior_draw
from weir.tasks.perturb.responder import Generated
from weir.tasks.perturb.vae import normal_draw

if TYPE_CHECKING:
    from weir.tasks.perturb.cells import Cells
    from weir.tasks.perturb.flow import CellCondition, CellFlow, Estimand
    from weir.tasks.perturb.latents import CellQuery


def estimand_of(model: CellFlow, estimand: Estimand | None) -> Estimand:
    """The estimand, by default the one that the model was trained for.

    Raises:
        UserError: the model cannot give it.
    """
    natural: Estimand = "edit" if model.start == "control" else "population"
    if estimand is None:
        return natural
    if estimand not in ("edit", "population"):
        raise UserError(f"estimand: {estimand!r} is unknown; choose edit or population")
    if estimand == "population" and model.start == "control":
        raise UserError(
            "estimand: a flow with source control only edits cells; ask for `edit`, or train one "
            "with source noise"
        )
    return estimand


@torch.no_grad()
def respond(
    model: CellFlow,
    sources: Cells,
    target: Tensor,
    *,
    steps: int | None = None,
    solver: SolverName | None = None,
    estimand: Estimand | None = None,
    generator: torch.Generator | None = None,
    chunk: int = 2048,
) -> Generated:
    """One generated cell per source cell.

    * `edit`: the source cell under the wanted doses; it keeps its technical latent, its library
      and, if the model is so set, its count noise: then no dose gives back the very counts.
    * `population`: a new cell of the source's context; technical latent and library are drawn from
      the laws of its batch and of the data.

    Args:
        model: in evaluation mode.
        sources: cells, on the model's device.
        target: `[cell, perturbation]`, wanted doses.
        steps: solver steps, or jumps of a student.
        solver: solver of a teacher.
        estimand: which of the two; by default what the model was trained for.
        generator: of all draws, on the model's device.
        chunk: cells at a time.

    Raises:
        UserError: the model cannot give the estimand.
        WeirError: a generated mean is not finite.
    """
    kind = estimand_of(model, estimand)
    parts = []
    for items in torch.arange(len(target), device=target.device).split(chunk):
        cells = type(sources)(*(field[items] for field in sources))
        own = model.query(cells)
        condition = with_nuisance(model, own, target[items], kind, generator)
        before, x = start(model, own, condition, kind, steps, solver, generator)
        x = model.transport(x, condition, steps=steps, solver=solver).final
        rate = model.decode(x, condition)[:, 0]
        require_finite(rate, "generated mean", "after the decoder")
        if kind == "edit" and model.keep_noise:
            known = model.decode(before, condition)[:, 0]
            parts.append(carry_over(cells.counts, known, rate, model.vae.theta, generator))
        else:
            parts.append(model.vae.draw(rate, generator))
    counts = torch.cat(parts)
    total = counts.sum(-1).clamp_min(1)
    return Generated(log_normalise(counts, total, model.vae.scale), counts)


def with_nuisance(
    model: CellFlow,
    own: CellQuery,
    target: Tensor,
    kind: Estimand,
    generator: torch.Generator | None,
) -> CellCondition:
    """The condition of the wanted doses, with technical latent and library of the estimand."""
    cells = own.cells
    condition = model.condition(own._replace(doses=target))
    if kind == "edit":
        return condition._replace(
            tech=normal_draw(cells.tech_mean, cells.tech_log_variance, generator)
        )
    mean, deviation = model.log_library
    white = torch.empty_like(cells.library).normal_(generator=generator)
    return condition._replace(
        tech=normal_draw(*model.vae.prior_tech(cells.batch), generator),
        library=(mean + deviation * white).exp(),
    )


def start(
    model: CellFlow,
    own: CellQuery,
    condition: CellCondition,
    kind: Estimand,
    steps: int | None,
    solver: SolverName | None,
    generator: torch.Generator | None,
) -> tuple[Tensor, Tensor]:
    """The cells' own latents and where the flow begins, `[cell, 1, d_int]` each.

    For an edit from noise the latter is the noise that makes the cell; a population has no use
    for the former.
    """
    if model.start == "control" or kind == "population":
        x = model.source(condition, 1, generator)
        return x, x
    before = model.condition(own)
    white = torch.randn(before.mean[:, None].shape, generator=generator, device=before.mean.device)
    cell = posterior_draw(white, before.mean, before.deviation)
    return cell, model.invert(cell, before, steps=steps, solver=solver)
