"""Generated cells: from source cells and wanted doses to counts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor

from weir.errors import UserError
from weir.flows.solvers import SolverName, require_finite
from weir.tasks.perturb.flow.count_noise import carry_over
from weir.tasks.perturb.flow.latents import posterior_draw
from weir.tasks.perturb.flow.responder import Generated
from weir.tasks.perturb.flow.responder import estimand_of as natural_estimand
from weir.tasks.perturb.representation.cell_code import log_normalise, normal_draw

if TYPE_CHECKING:
    from weir.tasks.perturb.data.cells import Cells
    from weir.tasks.perturb.flow.cell_flow import CellCondition, CellFlow, Estimand
    from weir.tasks.perturb.flow.latents import CellQuery


def estimand_of(model: CellFlow, estimand: Estimand | None) -> Estimand:
    """The estimand, by default the one that the model was trained for.

    Raises:
        UserError: the model cannot give it.
    """
    if estimand is None:
        return natural_estimand(model)
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
    chunk: int = 1024,
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
    run = _Run(model, estimand_of(model, estimand), steps, solver, generator)
    shifts = None if model.anchor is None else run.shifts(sources, target)
    counted = model.vae.counted
    expression = torch.empty_like(sources.counts)
    counts = torch.empty_like(sources.counts) if counted else None
    for begin in range(0, len(target), chunk):
        part = slice(begin, begin + chunk)
        made = run.counts(_take(sources, part), target[part], shifts and shifts.take(part))
        if counts is None:
            expression[part] = made
        else:
            counts[part] = made
            library = made.sum(-1).clamp_min(1)
            expression[part] = log_normalise(made, library, model.vae.scale)
    return Generated(expression, counts)


class Shifts(NamedTuple):
    """What the anchor adds to the levels of cells.

    Attributes:
        before: `[group, gene]`, of sources.
        after: `[group, gene]`, of generated cells.
        member: `[cell]` int64, the group of each cell.
    """

    before: Tensor
    after: Tensor
    member: Tensor

    def take(self, items: slice) -> Shifts:
        """Of some of the cells."""
        return self._replace(member=self.member[items])


@dataclass(frozen=True)
class _Run:
    """What stays the same from chunk to chunk of a call."""

    model: CellFlow
    kind: Estimand
    steps: int | None
    solver: SolverName | None
    generator: torch.Generator | None

    def counts(self, sources: Cells, target: Tensor, shifts: Shifts | None) -> Tensor:
        """Counts `[cell, gene]`, a generated cell per source.

        Of a first stage without counts it is their expression.
        """
        model, keep = self.model, self.kind == "edit" and self.model.keep_noise
        condition, cell, made = self.latents(sources, target)
        after = model.decode(made, condition)[:, 0]
        before = model.decode(cell, condition)[:, 0] if keep else after
        if shifts is not None:
            after = model.anchor.move(after, shifts.after[shifts.member])
            before = model.anchor.move(before, shifts.before[shifts.member]) if keep else after
        # A sum is an order faster than looking at each, and as finite as what it sums.
        if not bool(torch.isfinite(after.sum() + before.sum())):
            require_finite(after, "generated mean", "after the decoder")
            require_finite(before, "source mean", "after the decoder")
        if not model.vae.counted:
            return model.vae.express(after, sources if keep else None, before)
        if keep:
            return carry_over(sources.counts, before, after, model.vae.theta, self.generator)
        return model.vae.draw(after, self.generator)

    def latents(self, sources: Cells, target: Tensor) -> tuple[CellCondition, Tensor, Tensor]:
        """The condition, and latents `[cell, 1, d_int]` of the sources and of generated cells."""
        model = self.model
        own = model.query(sources)
        condition = with_nuisance(model, own, target, self.kind, self.generator)
        cell, x = start(model, own, condition, self.kind, self.steps, self.solver, self.generator)
        made = model.transport(x, condition, steps=self.steps, solver=self.solver).final
        return condition, cell, made

    def shifts(self, sources: Cells, target: Tensor) -> Shifts:
        """What the anchor adds to the levels of sources and generated cells."""
        model = self.model
        anchor, reference = model.anchor, model.reference
        place = model.contexts[sources.batch, sources.cell_type]
        groups, member = torch.cat([place[:, None], target], 1).unique(dim=0, return_inverse=True)
        rows = []
        for group in groups:
            number, doses = int(group[0]), group[1:]
            controls = reference.of(number)
            if len(controls.library):
                condition, *both = self.latents(controls, doses.expand(len(controls.library), -1))
                shares = [_mean_share(model.decode(x, condition)) for x in both]
                same = (model.conditions == doses).all(-1).nonzero()[:, 0]
                kind = int(same[0]) if len(same) else None
                rows.append(torch.stack(anchor.shifts(*shares, number, kind)))
            else:
                rows.append(anchor.control.new_zeros(2, model.vae.genes))
        return Shifts(*torch.stack(rows).unbind(1), member)


def _mean_share(rate: Tensor) -> Tensor:
    """Mean over cells of the genes' shares, `[gene]`, of means `[cell, draw, gene]`."""
    return (rate / rate.sum(-1, keepdim=True)).mean((0, 1))


def _take(cells: Cells, items: slice) -> Cells:
    return type(cells)(*(field[items] for field in cells))


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

    For an edit from noise the latter is the noise that makes the cell.
    """
    before = model.condition(own)
    white = torch.empty_like(before.mean)[:, None].normal_(generator=generator)
    cell = posterior_draw(white, before.mean, before.deviation)
    if model.start == "control":
        return cell, cell
    if kind == "population":
        return cell, model.source(condition, 1, generator)
    return cell, model.invert(cell, before, steps=steps, solver=solver)
