"""Cells that stay resident on a device, and batches of them with dense counts."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields, replace
from typing import NamedTuple

import torch
from torch import Tensor

from weir.tasks.perturb.counts import SparseCounts

CHUNK = 2048
"""Cells of one piece of a pass over a whole set."""


class Cells(NamedTuple):
    """A batch of cells.

    Attributes:
        counts: `[cell, gene]` float32 raw counts.
        library: `[cell]` float32, total over the genes.
        batch: `[cell]` int64; 0 for unknown, 1 for the first of `schema.batches`.
        cell_type: `[cell]` int64, likewise.
        doses: `[cell, perturbation]` float32, raw units, 0 where absent, 1 where the data has no
            doses; a control is all zeros, a combination has several that are not.
        niche: `[cell, niche]` float32 spatial features; width 0 without positions.
    """

    counts: Tensor
    library: Tensor
    batch: Tensor
    cell_type: Tensor
    doses: Tensor
    niche: Tensor


@dataclass(frozen=True)
class CellTable:
    """All cells of a data set, on one device.

    Attributes:
        counts: `[cell, gene]`, sparse.
        library: `[cell]` float32.
        batch: `[cell]` int64, 0 for unknown.
        cell_type: `[cell]` int64, 0 for unknown.
        condition: `[cell]` int64, 0 for control.
        context: `[cell]` int64.
        niche: `[cell, niche]` float32.
        condition_doses: `[condition, perturbation]` float32.
    """

    counts: SparseCounts
    library: Tensor
    batch: Tensor
    cell_type: Tensor
    condition: Tensor
    context: Tensor
    niche: Tensor
    condition_doses: Tensor

    def to(self, device: torch.device | str) -> CellTable:
        """The same cells on `device`."""
        return CellTable(*(getattr(self, column.name).to(device) for column in fields(self)))


@dataclass(frozen=True)
class CellSet:
    """Some cells of a table; items are numbered within the set.

    Attributes:
        table: where they lie.
        rows: `[n]` int64, their rows in the table, on its device.
    """

    table: CellTable
    rows: Tensor

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def condition(self) -> Tensor:
        """`[n]` int64, number in `schema.conditions`; 0 is the control."""
        return self.table.condition[self.rows]

    @property
    def context(self) -> Tensor:
        """`[n]` int64, number in `schema.contexts`."""
        return self.table.context[self.rows]

    @property
    def library(self) -> Tensor:
        """`[n]` float32, totals."""
        return self.table.library[self.rows]

    @property
    def batch_code(self) -> Tensor:
        """`[n]` int64, 0 for unknown."""
        return self.table.batch[self.rows]

    @property
    def cell_type_code(self) -> Tensor:
        """`[n]` int64, 0 for unknown."""
        return self.table.cell_type[self.rows]

    @property
    def niche(self) -> Tensor:
        """`[n, niche]` float32."""
        return self.table.niche[self.rows]

    def doses(self, items: Tensor | None = None) -> Tensor:
        """`[item, perturbation]` float32 of some items, or of all."""
        rows = self.rows if items is None else self.rows[items.to(self.rows.device)]
        return self.table.condition_doses[self.table.condition[rows]]

    def batch(self, items: Tensor) -> Cells:
        """The cells numbered `items` (`[cell]` int64, any device), gathered in a few calls."""
        rows = self.rows[items.to(self.rows.device)]
        table = self.table
        return Cells(
            table.counts.rows(rows),
            table.library[rows],
            table.batch[rows],
            table.cell_type[rows],
            table.condition_doses[table.condition[rows]],
            table.niche[rows],
        )

    def all(self) -> Iterator[tuple[Tensor, Cells]]:
        """Every cell once, in order and in pieces: the items `[piece]` and their cells."""
        for items in torch.arange(len(self), device=self.rows.device).split(CHUNK):
            yield items, self.batch(items)

    def subset(self, chosen: Tensor) -> CellSet:
        """The cells chosen by a mask `[n]` or by items (int64), in the order of these."""
        return replace(self, rows=self.rows[chosen.to(self.rows.device)])

    def to(self, device: torch.device | str) -> CellSet:
        """The same cells on `device`; the whole table moves along."""
        return CellSet(self.table.to(device), self.rows.to(device))
