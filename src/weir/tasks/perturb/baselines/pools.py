"""Baselines that deal out training cells: perturbed mean, matching mean and nearest group."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Self

import torch
from torch import Tensor

from weir.tasks.perturb.baselines.fitted import Fitted, profiles
from weir.tasks.perturb.baselines.shifts import compose, distinct
from weir.tasks.perturb.data.cells import SparseCounts
from weir.tasks.perturb.flow.responder import Generated
from weir.tasks.perturb.representation.cell_code import log_normalise

if TYPE_CHECKING:
    from weir.tasks.perturb.data.cells import Cells, CellSet
    from weir.tasks.perturb.data.load import PerturbData


def balanced_indices(of: int, count: int, generator: torch.Generator | None) -> Tensor:
    """`[count]` items below `of` in random order, each as often as any other, give or take one."""
    device = "cpu" if generator is None else generator.device
    rounds = -(-count // of)
    order = [torch.randperm(of, generator=generator, device=device) for _ in range(rounds)]
    return torch.cat(order)[:count]


POOL = 20_000
"""Training cells kept at most, shared by all groups alike."""


class Pool(Fitted):
    """Perturbed training cells as sparse counts, of which each target gets some.

    Args:
        scale: library to which counts are normalised.
    """

    estimand: ClassVar[str] = "population"

    def __init__(self, scale: float) -> None:
        super().__init__()
        whole = torch.zeros(0, dtype=torch.int64)
        self.register_buffer("scale", torch.tensor(scale, dtype=torch.float64))
        self.store(counts=whole.int(), genes=whole.int(), starts=whole)
        self.store(context=whole, condition=whole, doses=torch.zeros(0, 0))

    def fit(self, data: PerturbData) -> Self:
        """Keep perturbed training cells, evenly spaced among those of their group."""
        train = data.split("train")
        cells = train.subset(_kept(train))
        rows, genes, counts = [], [], []
        for items, batch in cells.all():
            cell, gene = batch.counts.nonzero(as_tuple=True)
            rows.append(items.to(cell.device)[cell])
            genes.append(gene.int())
            counts.append(batch.counts[cell, gene].int())
        lengths = torch.cat(rows).bincount(minlength=len(cells))
        self.store(
            counts=torch.cat(counts),
            genes=torch.cat(genes),
            starts=torch.cat([lengths.new_zeros(1), lengths.cumsum(0)]),
            context=cells.context.to(lengths.device),
            condition=cells.condition.to(lengths.device),
            doses=data.table.condition_doses,
        )
        return self

    def eligible(self, target: Tensor, sources: Tensor) -> Tensor:
        """Which kept cells `[kept]` serve a target, given the sources' expression."""
        raise NotImplementedError

    def answer(
        self, sources: Cells, target: Tensor, generator: torch.Generator | None = None
    ) -> Generated:
        """See `Fitted.answer`; no cell is handed out twice before all have been once."""
        expression = log_normalise(sources.counts, sources.library, float(self.scale))
        drawn = torch.zeros(len(target), dtype=torch.int64, device=target.device)
        for wanted, items in distinct(target):
            rows = self.eligible(wanted, expression).nonzero()[:, 0]
            drawn[items] = rows[balanced_indices(len(rows), len(items), generator).to(rows.device)]
        kept = SparseCounts(self.counts, self.genes, self.starts, sources.counts.shape[1])
        counts = kept.rows(drawn)
        found = log_normalise(counts, counts.sum(dim=1), float(self.scale))
        return Generated(found, counts, drawn)


class PerturbedMean(Pool):
    """All cells under the target in other contexts; all perturbed cells where it is unseen."""

    def eligible(self, target: Tensor, sources: Tensor) -> Tensor:
        """See `Pool.eligible`."""
        same = (self.doses == target).all(dim=1)[self.condition]
        return same if same.any() else torch.ones_like(same)


class MatchingMean(Pool):
    """All cells under conditions that share a perturbation with the target (Systema, 2025)."""

    def eligible(self, target: Tensor, sources: Tensor) -> Tensor:
        """See `Pool.eligible`."""
        shared = ((self.doses > 0) & (target > 0)).any(dim=1)[self.condition]
        return shared if shared.any() else torch.ones_like(shared)


class NearestGroup(Pool):
    """Cells of the one seen group most like the target, copied.

    The condition is the seen one nearest to the target; the context, of those seen under it, is
    the one whose mean control cell is nearest to that of the sources.

    Args:
        scale: library to which counts are normalised.
        shift: add the difference of the two mean control cells, and clip at zero.
    """

    def __init__(self, scale: float, shift: bool = False) -> None:
        super().__init__(scale)
        self.shift = shift
        self.store(controls=torch.zeros(0, 0))

    def fit(self, data: PerturbData) -> Self:
        """Keep training cells, and the mean control cell of each context."""
        super().fit(data)
        scale = float(self.scale)
        groups = profiles(data.split("train"), lambda c: log_normalise(c.counts, c.library, scale))
        controls = [groups.control(context) for context in range(len(data.schema.contexts))]
        self.store(controls=torch.stack(controls).float())
        return self

    def eligible(self, target: Tensor, sources: Tensor) -> Tensor:
        """See `Pool.eligible`."""
        known = self.condition.unique()
        condition = known[compose(target, self.doses[known]).argmax()]
        under = self.condition == condition
        contexts = self.context[under].unique()
        distances = (self.controls[contexts] - sources.mean(dim=0)).norm(dim=1)
        return under & (self.context == contexts[distances.argmin()])

    def answer(
        self, sources: Cells, target: Tensor, generator: torch.Generator | None = None
    ) -> Generated:
        """See `Fitted.answer`."""
        copied = super().answer(sources, target, generator)
        if not self.shift or copied.origin is None:
            return copied
        own = log_normalise(sources.counts, sources.library, float(self.scale)).mean(dim=0)
        moved = copied.expression + own - self.controls[self.context[copied.origin]]
        return Generated(moved.clamp_(min=0), None, copied.origin)


def _kept(cells: CellSet) -> Tensor:
    """Items of perturbed cells: of each group the same number at most, `POOL` in all."""
    keys = torch.stack([cells.context, cells.condition], dim=1)
    groups, which = keys.unique(dim=0, return_inverse=True)
    perturbed = (groups[:, 1] > 0).nonzero()[:, 0].tolist()
    share = max(1, POOL // max(1, len(perturbed)))
    parts = []
    for group in perturbed:
        items = (which == group).nonzero()[:, 0]
        count = min(share, len(items))
        parts.append(items[torch.arange(count, device=items.device) * len(items) // count])
    return torch.cat(parts)
