"""A user's `.h5ad`, opened without reading its matrix: names, columns, and rows piece by piece."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pandas as pd
from anndata.io import read_elem
from scipy import sparse

from weir.errors import Repairable, UserError
from weir.tasks.perturb.preprocessing.sparse_matrix import open_sparse
from weir.tasks.perturb.settings.dataset import PerturbDataset

CHUNK_VALUES = 1 << 25
"""Values, zero or not, of a piece of the matrix: a dense one takes 256 MB as float64."""


@dataclass(frozen=True)
class RawCells:
    """An open `.h5ad`.

    Attributes:
        file: its path, for messages.
        obs: one row a cell.
        genes: `[gene]` str, unique.
        positions: `[cell, 2 or 3]` float64 places in the tissue, None if not mapped.
        matrix: counts, `[cell, gene]`: an open sparse or dense matrix.
        elsewhere: other places in the file where counts may lie.
    """

    file: Path
    obs: pd.DataFrame
    genes: np.ndarray
    positions: np.ndarray | None
    matrix: Any
    elsewhere: tuple[str, ...]

    def chunks(self) -> Iterator[tuple[slice, sparse.csr_matrix]]:
        """The rows in order and in pieces: their numbers, and the non-zero values."""
        cells, genes = self.matrix.shape
        step = max(1, CHUNK_VALUES // max(genes, 1))
        for start in range(0, cells, step):
            rows = slice(start, min(start + step, cells))
            try:
                piece = sparse.csr_matrix(self.matrix[rows])
            except (OSError, ValueError, TypeError) as error:
                raise UserError(
                    f"{self.file}: cells {rows.start} to {rows.stop - 1} cannot be read "
                    f"({str(error).splitlines()[0]}); the file is damaged, save it again"
                ) from None
            piece.eliminate_zeros()
            yield rows, piece


@contextmanager
def open_cells(file: Path, config: PerturbDataset) -> Iterator[RawCells]:
    """Open a raw file as `config` describes it.

    Raises:
        UserError: it is no `.h5ad`, is empty, or lacks what `config` names; one line.
    """
    with _open(file) as store:
        try:
            obs, var = read_elem(store["obs"]), read_elem(store["var"])
            if config.layer == "raw" and "raw/var" in store:
                var = read_elem(store["raw/var"])
        except Exception as error:  # h5py and anndata raise anything on a damaged file
            text = str(error).splitlines()[0]
            raise UserError(f"{file}: obs or var cannot be read ({text}); save it again") from None
        genes = _gene_names(file, var, config)
        matrix, elsewhere = _matrix(file, store, config)
        if 0 in matrix.shape:
            raise UserError(
                f"{file} has {matrix.shape[0]} cells and {matrix.shape[1]} genes; export it again"
            )
        if matrix.shape != (len(obs), len(genes)):
            raise UserError(
                f"{file}: the counts are {matrix.shape[0]} x {matrix.shape[1]}, but obs has "
                f"{len(obs)} rows and var {len(genes)}; save it again"
            )
        positions = _positions(file, store, config)
        yield RawCells(file, obs, genes, positions, matrix, elsewhere)


def column(cells: RawCells, setting: str, name: str) -> pd.Series:
    """A column of `obs`, asked for by a setting.

    Raises:
        UserError: there is none of that name.
    """
    if name in cells.obs.columns:
        return cells.obs[name]
    raise UserError(
        f"{cells.file}: obs has no column {name!r}{_hint(name, cells.obs.columns)}; "
        f"set `obs.{setting}`"
    )


@contextmanager
def _open(file: Path) -> Iterator[h5py.File]:
    try:
        store = h5py.File(file, "r")
    except FileNotFoundError:
        raise UserError(f"{file} does not exist; rerun weir fetch") from None
    except OSError:
        empty = file.is_file() and not file.stat().st_size
        what = "is empty" if empty else "is no HDF5 file, or cut off"
        raise UserError(
            f"{file} {what}, so no .h5ad; save the cells with AnnData.write_h5ad"
        ) from None
    with store:
        absent = [name for name in ("X", "obs", "var") if name not in store]
        if absent and absent != ["X"]:
            raise UserError(
                f"{file} is HDF5, but no .h5ad (it has no {absent[-1]}); "
                "save the cells with AnnData.write_h5ad"
            )
        yield store


def _gene_names(file: Path, var: pd.DataFrame, config: PerturbDataset) -> np.ndarray:
    wanted = config.genes.name
    if wanted is not None and wanted not in var.columns:
        raise UserError(
            f"{file}: var has no column {wanted!r}{_hint(wanted, var.columns)}; set `genes.name`"
        )
    names = pd.Index(var.index if wanted is None else var[wanted].astype(str)).astype(str)
    twice = names.duplicated()
    if twice.any():
        what = f"{file}: gene {names[twice][0]!r} stands twice ({int(twice.sum())} such genes)"
        advice = "make them unique (AnnData.var_names_make_unique) or set `genes.name`"
        for name in var.columns:
            if wanted is None and var[name].dtype == object and var[name].is_unique:
                raise Repairable(what, advice, "genes.name", str(name))
        raise UserError(f"{what}; {advice}")
    return names.to_numpy(dtype=object)


def _matrix(file: Path, store: h5py.File, config: PerturbDataset) -> tuple[Any, tuple[str, ...]]:
    """The matrix of the counts, and other values of `layer` that the file offers."""
    layers = list(store["layers"]) if "layers" in store else []
    places = {None: "X", "raw": "raw/X"} | {name: f"layers/{name}" for name in layers}
    places = {name: place for name, place in places.items() if place in store}
    if config.layer not in places:
        listed = ", ".join("null (X)" if name is None else name for name in places)
        raise UserError(
            f"{file} has no counts in layer {config.layer or 'null (X)'}; set `layer` to one of: "
            f"{listed or 'none, the file holds no matrix'}"
        )
    others = tuple("null" if n is None else n for n in places if n != config.layer)
    place = store[places[config.layer]]
    if isinstance(place, h5py.Dataset):
        return place, others
    return open_sparse(file, place), others


def _positions(file: Path, store: h5py.File, config: PerturbDataset) -> np.ndarray | None:
    key = config.obs.spatial
    if key is None:
        return None
    found = list(store["obsm"]) if "obsm" in store else []
    if key not in found:
        raise UserError(f"{file}: obsm has no {key!r}{_hint(key, found)}; set `obs.spatial`")
    place = store[f"obsm/{key}"]
    if not isinstance(place, h5py.Dataset) or place.dtype.kind not in "iuf":
        raise UserError(
            f"{file}: obsm[{key!r}] is no table of numbers, [cell, 2 or 3]; set `obs.spatial`"
        )
    positions = np.asarray(place[()], dtype="float64")
    if positions.ndim != 2 or positions.shape[1] not in (2, 3):
        raise UserError(
            f"{file}: obsm[{key!r}] is {positions.shape}, not [cell, 2 or 3]; set `obs.spatial`"
        )
    return positions


def _hint(name: str, found: Any) -> str:
    names = [str(other) for other in found]
    if close := get_close_matches(name, names, 1):
        return f" (did you mean {close[0]!r}?)"
    return f" among {', '.join(map(repr, names[:12]))}" if names else ""
