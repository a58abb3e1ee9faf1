"""Sparse counts of many cells, of which batches of dense rows are taken."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

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
