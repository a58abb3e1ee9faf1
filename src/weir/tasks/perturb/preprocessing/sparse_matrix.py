"""A sparse matrix of a user's `.h5ad`, whose indices are checked before compiled code follows them.

SciPy goes where indices point, in memory that may not be the matrix's: a damaged or hostile file
ends the process, or worse.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from anndata.io import sparse_dataset
from scipy import sparse

from weir.errors import UserError

log = logging.getLogger("weir.perturb")


@dataclass
class SparseMatrix:
    """An open sparse matrix, of which rows are read.

    Attributes:
        file, place: where it lies, for messages.
        shape: `(rows, columns)`.
        pointers: `[row + 1]` int64: where each row begins in `indices` and `data`.
        indices, data: column and value of each entry, on disk or in memory.
    """

    file: Path
    place: str
    shape: tuple[int, int]
    pointers: np.ndarray
    indices: Any
    data: Any
    _said: bool = field(default=False, init=False)

    def __getitem__(self, rows: slice) -> sparse.csr_matrix:
        """Consecutive rows; entries that stand twice are added, as everywhere in SciPy.

        Raises:
            UserError: an entry lies outside of the matrix.
        """
        start, stop, _ = rows.indices(self.shape[0])
        stop = max(start, stop)
        pointers = self.pointers[start : stop + 1]
        entries = slice(int(pointers[0]), int(pointers[-1]))
        indices = np.asarray(self.indices[entries])
        if len(indices) and not (indices.min() >= 0 and indices.max() < self.shape[1]):
            raise _damaged(
                self.file, self.place, f"an entry lies outside of its {self.shape[1]} columns"
            )
        piece = sparse.csr_matrix(
            (self.data[entries], indices.astype("int64"), pointers - pointers[0]),
            shape=(stop - start, self.shape[1]),
        )
        before = piece.nnz
        piece.sum_duplicates()
        if piece.nnz < before and not self._said:
            self._said = True
            log.warning(
                "%s: %s has entries that stand twice (%d in rows %d to %d): they are added",
                *(self.file, self.place, before - piece.nnz, start, stop - 1),
            )
        return piece


def open_sparse(file: Path, group: h5py.Group) -> SparseMatrix:
    """A group of an `.h5ad`, rows or columns compressed.

    Raises:
        UserError: it is no sparse matrix, or its parts do not go together.
    """
    place = group.name.lstrip("/")
    try:
        opened = sparse_dataset(group)
        shape, by_columns = tuple(map(int, opened.shape)), opened.format == "csc"
        pointers, indices, data = (group[name] for name in ("indptr", "indices", "data"))
        parts = (pointers, indices, data)
        flat = all(isinstance(part, h5py.Dataset) and part.ndim == 1 for part in parts)
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError):
        raise UserError(
            f"{file}: {place} is neither a sparse nor a dense matrix; save it again"
        ) from None
    if not flat or len(shape) != 2 or min(shape) < 0:
        raise _damaged(file, place, "its parts have other dimensions than a sparse matrix")
    if pointers.dtype.kind not in "iu" or indices.dtype.kind not in "iu":
        raise _damaged(file, place, "its indices are no whole numbers")
    if data.dtype.kind not in "iufb":
        raise _damaged(file, place, "its values are no numbers")
    lines = shape[1] if by_columns else shape[0]
    if len(pointers) != lines + 1 or len(indices) != len(data):
        raise _damaged(
            file,
            place,
            f"{len(pointers)} pointers, {len(indices)} indices and {len(data)} values do not make "
            f"a matrix of {shape[0]} x {shape[1]}",
        )
    try:
        starts = pointers[:].astype("int64")
    except (OSError, ValueError) as error:
        raise _damaged(file, place, str(error).splitlines()[0]) from None
    if starts[0] != 0 or starts[-1] != len(indices) or (np.diff(starts) < 0).any():
        raise _damaged(file, place, "its pointers do not rise from 0 to the number of entries")
    if not by_columns:
        return SparseMatrix(file, place, (shape[0], shape[1]), starts, indices, data)
    # Rows cannot be cut from columns on disk; sparse in memory they can.
    turned = SparseMatrix(file, place, (shape[1], shape[0]), starts, indices, data)
    whole = turned[:].T.tocsr()
    return SparseMatrix(
        file, place, (shape[0], shape[1]), whole.indptr.astype("int64"), whole.indices, whole.data
    )


def _damaged(file: Path, place: str, what: str) -> UserError:
    return UserError(f"{file}: {place} is damaged: {what}; save it again")
