"""Cells that stay resident on a device, and batches of them with dense counts.

Counts of all cells are sparse; batches of dense rows are taken from them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

RESIDENT = 8 << 30
"""Bytes of counts up to which they are read into memory; larger ones stay on disk, mapped."""

DATA, INDICES, INDPTR = "counts.npy", "genes.npy", "starts.npy"
"""Files of the three arrays: non-zero counts, their genes, and the place each cell begins at."""


@dataclass(frozen=True)
class SparseCounts:
    """Counts `[cell, gene]` as compressed sparse rows, on any device.

    Torch has few operations for unsigned numbers, so they are held as signed ones of the same
    width and read back through a mask.

    Attributes:
        data: `[nonzero]` int16 or int32: the bits of the unsigned counts.
        indices: `[nonzero]` int16 or int32: the gene of each count.
        indptr: `[cell + 1]` int64: where each cell's counts begin.
        genes: number of genes.
    """

    data: Tensor
    indices: Tensor
    indptr: Tensor
    genes: int

    def __len__(self) -> int:
        return len(self.indptr) - 1

    def rows(self, cells: Tensor) -> Tensor:
        """Dense float32 counts `[n, gene]` of the cells numbered `cells` (`[n]` int64)."""
        device = self.indptr.device
        cells = cells.to(device)
        start = self.indptr[cells]
        length = self.indptr[cells + 1] - start
        total = int(length.sum())
        first = length.cumsum(0) - length
        base = torch.stack([start - first, torch.arange(len(cells), device=device) * self.genes])
        place, row = base.repeat_interleave(length, 1, output_size=total)
        place = place + torch.arange(total, device=device)
        values = self.data[place]
        mask = 0xFFFF if values.dtype == torch.int16 else 0xFFFFFFFF
        dense = torch.zeros(len(cells) * self.genes, device=device)
        dense.scatter_(0, row + self.indices[place], (values.long() & mask).float())
        return dense.view(len(cells), self.genes)

    def to(self, device: torch.device | str) -> SparseCounts:
        """The same counts on `device`."""
        return SparseCounts(
            self.data.to(device), self.indices.to(device), self.indptr.to(device), self.genes
        )

    @classmethod
    def of(cls, data: np.ndarray, indices: np.ndarray, indptr: np.ndarray, genes: int):
        """From arrays: uint16 or uint32 counts, int16 or int32 genes, int64 starts; no copy."""
        signed = {"uint16": "int16", "uint32": "int32"}[data.dtype.name]
        return cls(
            torch.from_numpy(data.view(signed)),
            torch.from_numpy(indices),
            torch.from_numpy(indptr),
            genes,
        )

    @classmethod
    def load(cls, folder: Path, genes: int) -> SparseCounts:
        """Read the three files of a folder, or map them where they are too large.

        Raises:
            OSError, ValueError: a file is missing or damaged.
        """
        files = [folder / name for name in (DATA, INDICES, INDPTR)]
        # Cells at random from a mapped file cost a page fault each.
        # "c": private pages, because torch warns of tensors over memory it may not write.
        large = sum(file.stat().st_size for file in files) > RESIDENT
        arrays = [np.load(file, mmap_mode="c" if large else None) for file in files]
        data, indices, indptr = arrays
        if indptr[-1] != len(data) or len(indices) != len(data):
            raise ValueError(f"{INDPTR} does not fit {DATA}")
        return cls.of(data, indices, indptr, genes)


CHUNK = 2048
"""Cells of one piece of a pass over a whole set."""


class Cells(NamedTuple):
    """A batch of cells.

    Attributes:
        counts: `[cell, gene]` float32 raw counts.
        library: `[cell]` float32, total over the genes.
        batch: `[cell]` int64; 0 for unknown, 1 for the first of `schema.batches`.
        cell_type: `[cell]` int64; 0 for unknown, 1 for the first of the schema's cell types.
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
