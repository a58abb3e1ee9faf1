"""An `.h5ad` of generated cells, written piece by piece."""

from __future__ import annotations

from pathlib import Path
from types import TracebackType
from typing import Any

import h5py
import numpy as np
import pandas as pd
from anndata.io import sparse_dataset, write_elem
from scipy import sparse

from weir.tasks.perturb.flow.responder import Generated


class CellsFile:
    """Counts in `X` and in layer `counts`, or else log-normalised values in `X`.

    A context manager; nothing stands at the path before the last cell is written.

    Args:
        file: to be written.
        obs: one row for each cell to come.
        genes: names of the genes.
        about: goes into `uns["weir"]`.
    """

    def __init__(
        self, file: Path, obs: pd.DataFrame, genes: tuple[str, ...], about: dict[str, Any]
    ) -> None:
        self.file, self.obs, self.genes, self.about = file, obs, genes, about
        self.partial = file.with_name(f".{file.name}.partial")
        self._counted: bool | None = None

    def add(self, cells: Generated) -> None:
        """Write some more cells."""
        values = cells.expression if cells.counts is None else cells.counts
        piece = sparse.csr_matrix(values.cpu().numpy().astype("float32"))
        if self._counted is None:
            self._counted = cells.counts is not None
            # Millions of cells have more counts than 32 bits number.
            how = {"compression": "lzf", "indptr_dtype": np.int64}
            write_elem(self._store, "X", piece, dataset_kwargs=how)
        else:
            sparse_dataset(self._store["X"]).append(piece)

    def __enter__(self) -> CellsFile:
        self._store = h5py.File(self.partial, "w")
        self._store.attrs.update({"encoding-type": "anndata", "encoding-version": "0.1.0"})
        write_elem(self._store, "obs", self.obs)
        write_elem(self._store, "var", pd.DataFrame(index=list(self.genes)))
        for name in ("layers", "obsm", "varm", "obsp", "varp"):
            write_elem(self._store, name, {})
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if error is not None:
            self._store.close()
            self.partial.unlink()
            return
        if self._counted:
            # One matrix under two names takes the room of one.
            self._store["layers/counts"] = self._store["X"]
        what = "counts" if self._counted else "log1p of counts at one library"
        write_elem(self._store, "uns", {"weir": {**self.about, "X": what}})
        self._store.close()
        self.partial.replace(self.file)
