"""Cells as their latents: what the second stage trains on, and what a teacher samples."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor

from weir.errors import UserError
from weir.tasks.perturb.flow.context import Codes
from weir.tasks.perturb.flow.coupling import CouplingName, beside_niche, couple_groups

if TYPE_CHECKING:
    from weir.tasks.perturb.data.cells import CellSet
    from weir.tasks.perturb.representation.cell_code import CellCode


class EncodedCells(NamedTuple):
    """What the first stage makes of cells, and what else is known of them.

    Attributes:
        mean: `[cell, d_int]`, of the intrinsic latent.
        log_variance: `[cell, d_int]`.
        tech_mean: `[cell, d_tech]`, of the technical latent.
        tech_log_variance: `[cell, d_tech]`.
        library: `[cell]` total counts.
        batch: `[cell]` int64, 0 for unknown.
        cell_type: `[cell]` int64, 0 for unknown.
        niche: `[cell, niche]`.
    """

    mean: Tensor
    log_variance: Tensor
    tech_mean: Tensor
    tech_log_variance: Tensor
    library: Tensor
    batch: Tensor
    cell_type: Tensor
    niche: Tensor

    @property
    def codes(self) -> Codes:
        """What the context is made of."""
        return Codes(self.batch, self.cell_type, self.niche)

    def take(self, items: Tensor) -> EncodedCells:
        """Some of the cells."""
        return EncodedCells(*(field[items] for field in self))

    def to(self, device: Any) -> EncodedCells:
        """The same on `device`."""
        return EncodedCells(*(field.to(device) for field in self))


class CellQuery(NamedTuple):
    """What a flow is asked: these source cells under those doses.

    Attributes:
        cells: the sources.
        doses: `[cell, perturbation]`, wanted doses.
    """

    cells: EncodedCells
    doses: Tensor


class LatentBatch(NamedTuple):
    """Training items: a query, and a cell that answers it.

    Attributes:
        query: the source cell (its partner, or the cell itself), and the doses and the niche of
            the cell.
        mean: `[item, d_int]`, of the cell's intrinsic latent.
        log_variance: `[item, d_int]`.
        group: `[item]` int64; cells of one context and condition share a number.
        weight: `[item]`, of mean one over the data set.
    """

    query: CellQuery
    mean: Tensor
    log_variance: Tensor
    group: Tensor
    weight: Tensor


def posterior_draw(white: Tensor, mean: Tensor, deviation: Tensor) -> Tensor:
    """Latents `[cell, draw, d_int]` of cells, `[cell, d_int]` each, from white noise."""
    return mean[:, None] + deviation[:, None] * white


@torch.no_grad()
def encode(vae: CellCode, cells: CellSet) -> EncodedCells:
    """All cells of a set, encoded in chunks."""
    parts = [
        EncodedCells(*vae.encode(part), part.library, part.batch, part.cell_type, part.niche)
        for _, part in cells.all()
    ]
    return EncodedCells(*(torch.cat(fields) for fields in zip(*parts, strict=True)))


@dataclass(frozen=True)
class LatentSet:
    """Training items of a flow; what each is was computed once.

    Attributes:
        cells: all cells of the part.
        conditions: `[condition, perturbation]`, the doses of each condition.
        condition: `[cell]` int64.
        group: `[cell]` int64, context and condition as one number.
        targets: `[item]` int64, the cell that an item is.
        sources: `[item, round]` int64, cells that it may have come from.
        weight: `[item]`.
    """

    cells: EncodedCells
    conditions: Tensor
    condition: Tensor
    group: Tensor
    targets: Tensor
    sources: Tensor
    weight: Tensor

    def __len__(self) -> int:
        return len(self.targets)

    def to(self, device: Any) -> LatentSet:
        """The same on `device`."""
        fields = ("conditions", "condition", "group", "targets", "sources", "weight")
        moved = {name: getattr(self, name).to(device) for name in fields}
        return replace(self, cells=self.cells.to(device), **moved)

    def batch(self, items: Tensor) -> LatentBatch:
        """Items numbered `items`; which of its sources an item has is drawn again each time."""
        items = items.to(self.targets.device)
        cells = self.targets[items]
        turn = torch.randint(self.sources.shape[1], items.shape, device=items.device)
        sources = self.cells.take(self.sources[items, turn])
        # What is learnt of a place is what cells there became, wherever their partner sits.
        sources = sources._replace(niche=self.cells.niche[cells])
        return LatentBatch(
            CellQuery(sources, self.conditions[self.condition[cells]]),
            self.cells.mean[cells],
            self.cells.log_variance[cells],
            self.group[cells],
            self.weight[items],
        )


def latent_set(
    vae: CellCode,
    cells: CellSet,
    conditions: Tensor,
    unit: Tensor,
    *,
    paired: bool,
    placed: bool = False,
    balance: float = 0.0,
    coupling: CouplingName = "optimal",
    rounds: int = 8,
    size: int = 1024,
    seed: int = 0,
) -> LatentSet:
    """Encode the cells of a part and pair the perturbed ones with controls of their context.

    Args:
        vae: the first stage, in evaluation mode.
        cells: the part.
        conditions: `[condition, perturbation]` doses.
        unit: `[d_int]`, scale of each coordinate in the distances of the coupling.
        paired: items are the perturbed cells, each with controls as sources; otherwise all
            cells, each its own source.
        placed: pair cells of like places, see `weir.tasks.perturb.flow.coupling.beside_niche`.
        balance: 0 weighs cells alike, 1 weighs groups of context and condition alike.
        coupling: see `weir.tasks.perturb.flow.coupling.couple`.
        rounds: the same.
        size: the same.
        seed: the same.

    Raises:
        UserError: there is no perturbed cell with a control in its context.
    """
    encoded = encode(vae, cells)
    on = encoded.mean.device
    condition, context = cells.condition.to(on), cells.context.to(on)
    group = context * len(conditions) + condition
    if paired:
        latent = encoded.mean / unit
        targets, sources = couple_groups(
            beside_niche(latent, encoded.niche) if placed else latent,
            context,
            condition,
            method=coupling,
            rounds=rounds,
            size=size,
            seed=seed,
        )
        if not len(targets):
            raise UserError(
                "stage2: no perturbed cell of a part has a control cell in its context; "
                "match on fewer columns in the dataset's `match`, or keep more cells for it"
            )
    else:
        targets = torch.arange(len(condition), device=on)
        sources = targets[:, None]
    return LatentSet(
        encoded,
        conditions.to(on),
        condition,
        group,
        targets,
        sources,
        _weights(group[targets], balance),
    )


def _weights(group: Tensor, balance: float) -> Tensor:
    _, inverse, count = group.unique(return_inverse=True, return_counts=True)
    weight = count[inverse].float() ** -balance
    return weight / weight.mean()


@dataclass(frozen=True)
class QuerySet:
    """Every control cell under every condition, as a data set that is never written out.

    The cells stand in a random order that is always the same, so that the first or last items
    are no particular cell type.

    Attributes:
        cells: control cells.
        doses: `[condition, perturbation]`, the wanted ones.
        order: `[cell]` int64.
    """

    cells: EncodedCells
    doses: Tensor
    order: Tensor

    def __len__(self) -> int:
        return len(self.order) * len(self.doses)

    def to(self, device: Any) -> QuerySet:
        """The same on `device`."""
        return QuerySet(self.cells.to(device), self.doses.to(device), self.order.to(device))

    def batch(self, items: Tensor) -> CellQuery:
        """Queries numbered `items`."""
        items = items.to(self.order.device)
        cell = self.order[items.div(len(self.doses), rounding_mode="floor")]
        return CellQuery(self.cells.take(cell), self.doses[items % len(self.doses)])


def query_set(vae: CellCode, cells: CellSet, doses: Tensor) -> QuerySet:
    """All queries `(control cell, row of doses)` of a part.

    Raises:
        UserError: the part has no control cell.
    """
    controls = cells.subset(cells.condition == 0)
    if not len(controls):
        raise UserError("teacher: the part has no control cell to start from")
    encoded = encode(vae, controls)
    order = torch.randperm(len(controls), generator=torch.Generator().manual_seed(0))
    on = encoded.mean.device
    return QuerySet(encoded, doses.to(on), order.to(on))
