"""A processed folder, written: counts piece by piece, then what describes them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from scipy import sparse

from weir.tasks.perturb.counts import DATA, INDICES, INDPTR
from weir.tasks.perturb.data import CELLS, NICHE, digest
from weir.tasks.perturb.pca import Pca
from weir.tasks.perturb.schema import Schema


class GrowingArray:
    """A one-dimensional `.npy` file whose length is known at the end."""

    def __init__(self, file: Path, dtype: Any) -> None:
        self.dtype = np.dtype(dtype)
        self.length = 0
        self._stream = file.open("wb")
        self._head()

    def append(self, values: np.ndarray) -> None:
        """Write some more values."""
        self._stream.write(np.ascontiguousarray(values, self.dtype).tobytes())
        self.length += len(values)

    def close(self) -> None:
        """Write the length into the head, for which numpy leaves room, and close the file."""
        self._stream.seek(0)
        self._head()
        self._stream.close()

    def _head(self) -> None:
        descr = np.lib.format.dtype_to_descr(self.dtype)
        np.lib.format.write_array_header_1_0(
            self._stream, {"descr": descr, "fortran_order": False, "shape": (self.length,)}
        )


class CountsWriter:
    """The three arrays of sparse counts, written cell by cell: a context manager.

    Args:
        folder: where they go.
        genes: number of genes.
        most: largest count; 65535 or less takes two bytes a count instead of four.
    """

    def __init__(self, folder: Path, genes: int, most: int) -> None:
        self._data = GrowingArray(folder / DATA, "uint16" if most < 1 << 16 else "uint32")
        self._indices = GrowingArray(folder / INDICES, "int16" if genes < 1 << 15 else "int32")
        self._indptr = GrowingArray(folder / INDPTR, "int64")
        self._indptr.append(np.zeros(1, "int64"))

    def append(self, counts: sparse.csr_matrix) -> None:
        """Add cells: `[cell, gene]` whole numbers of any type."""
        counts.eliminate_zeros()
        counts.sort_indices()
        self._indptr.append(counts.indptr[1:].astype("int64") + self._data.length)
        self._indices.append(counts.indices)
        self._data.append(counts.data)

    def __enter__(self) -> CountsWriter:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for array in (self._data, self._indices, self._indptr):
            array.close()


def describe_folder(
    folder: Path, cells: pd.DataFrame, niche: np.ndarray, pca: Pca, schema: Schema
) -> None:
    """Write all that stands beside the counts of a processed folder.

    Args:
        folder: holds the counts already.
        cells: columns `name`, `part`, `batch`, `cell_type`, `condition`, `context`, `library`.
        niche: `[cell, niche]`.
        pca: fitted on the training cells.
        schema: complete but for its digest.
    """
    pq.write_table(pa.Table.from_pandas(cells, preserve_index=False), folder / CELLS)
    np.save(folder / NICHE, niche.astype("float32"))
    pca.save(folder)
    replace(schema, digest=digest(folder, cells)).save(folder)
