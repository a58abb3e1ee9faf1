"""The flow of a cell's intrinsic latent, from noise or from a control cell, and the cells it makes.

Cells are made from source cells and wanted doses, and come out as counts.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import torch
from torch import Tensor

from weir.errors import UserError
from weir.flows.model import FlowModel
from weir.flows.paths import Path, PathName
from weir.flows.solvers import SolverName, integrate, require_finite
from weir.tasks.perturb.flow.anchor import AnchorSettings, GroupAnchor, ReferenceCells
from weir.tasks.perturb.flow.context import (
    ContextEncoder,
    DoseCurve,
    PerturbationAdapter,
    Role,
    Vocabulary,
)
from weir.tasks.perturb.flow.count_noise import carry_over
from weir.tasks.perturb.flow.coupling import CouplingName
from weir.tasks.perturb.flow.field import PerturbationField, VelocityParts
from weir.tasks.perturb.flow.latents import (
    CellQuery,
    EncodedCells,
    LatentBatch,
    LatentSet,
    QuerySet,
    latent_set,
    posterior_draw,
    query_set,
)
from weir.tasks.perturb.flow.responder import Generated
from weir.tasks.perturb.flow.responder import estimand_of as natural_estimand
from weir.tasks.perturb.representation.cell_code import log_normalise, normal_draw

if TYPE_CHECKING:
    from weir.tasks.perturb.data.cells import Cells, CellSet
    from weir.tasks.perturb.flow.responder import Generated
    from weir.tasks.perturb.representation.cell_code import CellCode

    pass
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


SourceName = Literal["control", "noise"]
Estimand = Literal["edit", "population"]


class CellCondition(NamedTuple):
    """What the flow of a cell depends on, and what decodes its latent; axis 0 is the cell.

    Attributes:
        mean: `[cell, d_int]`, the source cell's standardised latent.
        deviation: `[cell, d_int]`, its posterior standard deviation.
        base: `[cell, context]`, context of the base field.
        effect: `[cell, context]`, context of the perturbation part.
        alpha: `[cell, alpha]`, the perturbation; zero without.
        tech: `[cell, d_tech]`, technical latent.
        library: `[cell]`.
        batch: `[cell]` int64.
        place: `[cell]` int64, matched context plus one, 0 for none.
    """

    mean: Tensor
    deviation: Tensor
    base: Tensor
    effect: Tensor
    alpha: Tensor
    tech: Tensor
    library: Tensor
    batch: Tensor
    place: Tensor


@dataclass(frozen=True)
class Pairing:
    """How items are made of cells, see `weir.tasks.perturb.flow.latents.latent_set`."""

    coupling: CouplingName = "optimal"
    rounds: int = 8
    size: int = 1024
    balance: float = 1.0


class CellFlow(FlowModel):
    """Law of the intrinsic latent of perturbed cells, given a control cell or from noise.

    With source `control` the flow starts at the control cell's own latent and has no base field:
    without a perturbation the cell stays what it is. With source `noise` it starts at white noise;
    the base is learnt from all cells, and a cell is edited by following its equation back to
    the noise under its own condition and forth again under the wanted one.

    The first stage, an autoencoder of counts or a linear code of expression, is part of the model,
    so that one folder holds all that generating needs.
    Latents are standardised; posterior draws of a source and of its partner share their noise,
    which is the optimal transport between their posteriors.

    Args:
        vae: the first stage.
        vocabulary: of the data.
        source: where the flow starts.
        path: interpolation between source and data; `linear` for source `control`.
        roles: what enters the base's context.
        effect_roles: what enters the perturbation part's context.
        context: width of contexts.
        unknown: chance of dropping a code of the context in training.
        alpha: width of the perturbation vector.
        curve: dose curve.
        interaction: rank of the pairwise interaction; 0 for none.
        basis: number of perturbation fields.
        state: share of the state-dependent part of the perturbation that is kept, 0 to 1.
        width: hidden width of the field.
        layers: residual layers of the field.
        dropout: dropout of the field.
        anchor: how generated means of counts are anchored, see `anchor`; None
            for not.
        keep_noise: carry an edited cell's count noise over, see `count_noise`, or,
            without counts, what of its expression the code does not hold.
        pairing: how training items are made.
        frozen: keep the autoencoder as it is, without gradient and in evaluation mode.
        steps: default solver steps.
        solver: default solver.
        student: build the network with the step-size input of a student.
    """

    latent_mean: Tensor
    latent_sd: Tensor
    conditions: Tensor
    contexts: Tensor
    log_library: Tensor

    def __init__(
        self,
        vae: CellCode,
        vocabulary: Vocabulary,
        *,
        source: SourceName = "control",
        path: PathName = "linear",
        roles: tuple[Role, ...] = ("batch", "cell_type", "niche"),
        effect_roles: tuple[Role, ...] = (),
        context: int = 32,
        unknown: float = 0.1,
        alpha: int = 32,
        curve: DoseCurve = "hill",
        interaction: int = 8,
        basis: int = 8,
        state: float = 1.0,
        width: int = 128,
        layers: int = 2,
        dropout: float = 0.0,
        anchor: AnchorSettings | None = None,
        keep_noise: bool = True,
        pairing: Pairing | None = None,
        frozen: bool = True,
        steps: int = 4,
        solver: SolverName = "midpoint",
        student: bool = False,
    ) -> None:
        super().__init__()
        if source == "control" and path != "linear":
            raise ValueError("a flow from control cells needs the linear path")
        self.event = (vae.d_int,)
        self.vae, self.vocabulary = vae, vocabulary
        self.start: SourceName = source
        self.path = Path(path)
        self.pairing = Pairing() if pairing is None else pairing
        self.keep_noise, self.frozen, self.student = keep_noise, frozen, student
        self.steps, self.solver = steps, solver
        v = vocabulary
        contexts = {"width": context, "unknown": unknown}
        self.base = ContextEncoder(
            v.batches,
            v.cell_types,
            v.niche,
            roles=roles if source == "noise" else (),
            **contexts,
        )
        self.effect = ContextEncoder(
            v.batches, v.cell_types, v.niche, roles=effect_roles, **contexts
        )
        self.adapter = PerturbationAdapter(
            v.unit, context, width=alpha, curve=curve, interaction=interaction
        )
        self.network = PerturbationField(
            vae.d_int,
            context,
            alpha,
            base=source == "noise",
            basis=basis,
            state=state,
            width=width,
            layers=layers,
            dropout=dropout,
            student=student,
        )
        count = int(v.contexts.max())
        self.anchor = anchor and GroupAnchor(len(v.conditions), count, vae.genes, anchor)
        self.reference = anchor and ReferenceCells(
            count, anchor.cells, vae.genes, len(v.unit), v.niche
        )
        self.register_buffer("latent_mean", torch.zeros(vae.d_int))
        self.register_buffer("latent_sd", torch.ones(vae.d_int))
        self.register_buffer("conditions", v.conditions, persistent=False)
        self.register_buffer("contexts", v.contexts, persistent=False)
        self.register_buffer("log_library", torch.tensor(v.log_library), persistent=False)
        if frozen:
            vae.requires_grad_(False)
        self.train(self.training)

    def train(self, mode: bool = True) -> CellFlow:
        """As usual, but a frozen autoencoder stays in evaluation mode."""
        super().train(mode)
        if self.frozen:
            self.vae.eval()
        return self

    def as_student(self, settings: Any = None) -> CellFlow:
        """A copy with a step-size input that does nothing yet; its autoencoder is frozen."""
        student = copy.deepcopy(self)
        student.network.add_step()
        student.student = student.frozen = True
        student.vae.requires_grad_(False)
        return student.train(self.training)

    def items(self, data: CellSet, seed: int = 0) -> LatentSet:
        """The cells' latents, computed once; see `weir.tasks.perturb.flow.latents.latent_set`.

        Args:
            data: cells.
            seed: of the pairs.
        """
        how = self.pairing
        return latent_set(
            self.vae.eval(),
            data,
            self.conditions,
            self.latent_sd,
            paired=self.start == "control",
            placed=self.effect.niche is not None,
            balance=how.balance,
            coupling=how.coupling,
            rounds=how.rounds,
            size=how.size,
            seed=seed,
        )

    def queries(self, data: CellSet) -> QuerySet:
        """Every control cell under every condition, the control's own only if that moves it."""
        first = 1 if self.start == "control" else 0
        return query_set(self.vae.eval(), data, self.conditions[first:])

    def query(self, cells: Cells, doses: Tensor | None = None) -> CellQuery:
        """Cells under `doses`, `[cell, perturbation]`, their own by default."""
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self.frozen):
            encoded = EncodedCells(
                *self.vae.encode(cells), cells.library, cells.batch, cells.cell_type, cells.niche
            )
        return CellQuery(encoded, cells.doses if doses is None else doses)

    def condition(self, batch: CellQuery | LatentBatch | Cells) -> CellCondition:
        """The condition of queries, or of cells under their own doses."""
        if isinstance(batch, LatentBatch):
            batch = batch.query
        if not isinstance(batch, CellQuery):
            batch = self.query(batch)
        cells, doses = batch
        effect = self.effect(cells.codes)
        return CellCondition(
            self.standardise(cells.mean),
            (0.5 * cells.log_variance).exp() / self.latent_sd,
            self.base(cells.codes),
            effect,
            self.adapter(doses, effect),
            cells.tech_mean,
            cells.library,
            cells.batch,
            self.contexts[cells.batch, cells.cell_type],
        )

    def standardise(self, latent: Tensor) -> Tensor:
        """Latents `[..., d_int]` in units of the training cells."""
        return (latent - self.latent_mean) / self.latent_sd

    def colour(self, white: Tensor, condition: CellCondition) -> Tensor:
        """White noise `[cell, draw, d_int]`, or posterior draws of the source cells."""
        if self.start == "noise":
            return white
        return posterior_draw(white, condition.mean, condition.deviation)

    def velocity(
        self, x: Tensor, t: Tensor, condition: CellCondition, step: Tensor | None = None
    ) -> Tensor:
        """`dx/dt` of latents `[cell, draw, d_int]`."""
        parts = self.parts(x, t, condition, step)
        return parts.base + (parts.alike + self.network.state * parts.state)

    def parts(
        self, x: Tensor, t: Tensor, condition: CellCondition, step: Tensor | None = None
    ) -> VelocityParts:
        """The terms of the velocity; from noise, the standard Gaussian's is part of the base."""
        c = condition
        parts = self.network.parts(x, t, c.base, c.effect, c.alpha, step)
        if self.start == "control":
            return parts
        gain = self.path.gaussian_gain(t, step)
        gain = gain.reshape(gain.shape + (1,) * (x.ndim - gain.ndim))
        return parts._replace(base=parts.base + gain * x)

    def decode(self, x: Tensor, condition: CellCondition) -> Tensor:
        """Means `[cell, draw, gene]` of latents `[cell, draw, d_int]`, not anchored.

        They are of counts, or of expression where the first stage makes no counts.
        """
        return self.vae.decode(
            x * self.latent_sd + self.latent_mean,
            condition.tech[:, None],
            condition.batch[:, None],
            condition.library[:, None],
        )

    def invert(
        self,
        x: Tensor,
        condition: CellCondition,
        *,
        steps: int | None = None,
        solver: SolverName | None = None,
    ) -> Tensor:
        """The noise `[cell, draw, d_int]` from which latents come under `condition`.

        Raises:
            UserError: the model is a student, whose jumps cannot be followed back.
        """
        if self.student:
            raise UserError(
                "estimand: a student cannot edit by abduction; ask for `population`, or evaluate "
                "its teacher"
            )
        return integrate(
            lambda x, t: self.velocity(x, t, condition),
            x,
            steps=self.steps if steps is None else steps,
            solver=self.solver if solver is None else solver,
            start=1.0,
            end=0.0,
        ).final

    def respond(
        self,
        sources: Cells,
        target: Tensor,
        *,
        steps: int | None = None,
        solver: SolverName | None = None,
        estimand: Estimand | None = None,
        generator: torch.Generator | None = None,
    ) -> Generated:
        """One generated cell per source cell, see `weir.tasks.perturb.flow.cell_flow.respond`."""
        return respond(
            self,
            sources,
            target,
            steps=steps,
            solver=solver,
            estimand=estimand,
            generator=generator,
        )
