"""Checks of the matrix of counts: every value a count, every cell good enough."""

from __future__ import annotations

from dataclasses import dataclass

import anndata
import numpy as np
import scanpy
from scipy import sparse

from weir.artifacts.schema_file import ColumnRepair
from weir.errors import Repairable, UserError
from weir.tasks.perturb.preprocessing.labels import Labels
from weir.tasks.perturb.preprocessing.reading import RawCells
from weir.tasks.perturb.settings.dataset import PerturbDataset

MOST = 1 << 24
"""Largest count that float32 holds exactly."""

LAYERS = ("counts", "raw_counts", "raw")
"""Places that are taken for the raw counts, the surest first."""


@dataclass(frozen=True)
class Totals:
    """What one pass over the matrix tells of the cells of the file.

    Attributes:
        counts: `[cell]` float64 total.
        genes: `[cell]` int64 genes seen.
        mitochondrial: `[cell]` float64 share of counts in `MT-` genes.
        most: largest count.
    """

    counts: np.ndarray
    genes: np.ndarray
    mitochondrial: np.ndarray
    most: int


def count_totals(cells: RawCells, config: PerturbDataset) -> Totals:
    """Go through the matrix once; every value must be a count.

    Raises:
        UserError: a value is missing, negative or fractional; one line with its place.
    """
    length = len(cells.obs)
    counts, share = np.zeros(length), np.zeros(length)
    genes = np.zeros(length, "int64")
    upper = np.char.upper(cells.genes.astype(str))
    var = {"mitochondrial": np.char.startswith(upper, "MT-")}
    most = 0.0
    for rows, piece in cells.chunks():
        _counts_only(cells, config, rows, piece)
        if piece.nnz:
            most = max(most, float(piece.data.max()))
        # Of one type, so that what scanpy compiles is compiled once; exact below MOST.
        table = anndata.AnnData(piece.astype("float32"))
        table.var["mitochondrial"] = var["mitochondrial"]
        quality, _ = scanpy.pp.calculate_qc_metrics(
            table, qc_vars=["mitochondrial"], percent_top=None, log1p=False
        )
        counts[rows] = np.asarray(piece.sum(1, dtype="float64"))[:, 0]
        genes[rows] = quality["n_genes_by_counts"]
        # 0 / 0 of cells without counts, about which `empty_cells` decides.
        share[rows] = np.nan_to_num(quality["pct_counts_mitochondrial"].to_numpy()) / 100
    return Totals(counts, genes, share, int(most))


def _counts_only(
    cells: RawCells, config: PerturbDataset, rows: slice, piece: sparse.csr_matrix
) -> None:
    values = piece.data
    # NaN fails every comparison.
    bad = ~((values >= 0) & (values < MOST) & (values == np.floor(values)))
    if not bad.any():
        return
    place = int(bad.argmax())
    value = float(values[place])
    row = rows.start + int(np.searchsorted(piece.indptr, place, side="right")) - 1
    where = (
        f"{cells.file}, cell {cells.obs.index[row]!r}, gene {cells.genes[piece.indices[place]]!r}"
    )
    if np.isnan(value):
        raise _elsewhere(cells, f"{where}: the value is missing (NaN)", "fix the file or ")
    if np.isinf(value) or value >= MOST:
        raise UserError(f"{where}: {value:g} is too large for a count; fix the file")
    if (values < 0).any():
        negative = float(values[values < 0][0])
        what = "scaled" if (values != np.floor(values)).any() else "no counts"
        raise _elsewhere(
            cells,
            f"{where}: {negative:.4g} is negative: the values are {what}, but counts are needed",
        )
    what = "log-normalised" if values.max() < 20 else "normalised"
    raise _elsewhere(
        cells,
        f"{where}: {value:.4g} is no whole number: the values look {what}, but raw counts are "
        "needed",
    )


def _elsewhere(cells: RawCells, what: str, instead: str = "") -> UserError:
    """An error about values that are no counts; repairable where a place is named for counts."""
    if not cells.elsewhere:
        return UserError(f"{what}; {instead}set `layer`")
    advice = f"{instead}set `layer` to where the raw counts lie ({', '.join(cells.elsewhere)})"
    for layer in LAYERS:
        if layer in cells.elsewhere:
            return Repairable(what, advice, "layer", layer)
    return UserError(f"{what}; {advice}")


def drop_poor(cells: RawCells, labels: Labels, totals: Totals, config: PerturbDataset) -> None:
    """Leave out cells without counts and those that `quality` refuses, in place.

    Raises:
        UserError: there are cells without counts, and `empty_cells` does not drop them.
    """
    empty = totals.counts[labels.rows] == 0
    if empty.any():
        if config.empty_cells == "error":
            row = int(labels.rows[empty.argmax()])
            raise Repairable(
                f"{cells.file}, cell {cells.obs.index[row]!r}: it has no counts "
                f"({int(empty.sum())} such cells)",
                "set `empty_cells: drop`",
                "empty_cells",
                "drop",
            )
        labels.repairs.append(ColumnRepair("empty cells", int(empty.sum()), "no counts: left out"))
        labels.keep(~empty)
    rows, quality = labels.rows, config.quality
    limits = (
        (totals.counts[rows] < quality.min_counts, f"less than {quality.min_counts:g} counts"),
        (totals.genes[rows] < quality.min_genes, f"less than {quality.min_genes} genes"),
        (
            totals.mitochondrial[rows] > (quality.max_mitochondrial or 1.0),
            f"more than {quality.max_mitochondrial} mitochondrial",
        ),
    )
    good = np.ones(len(rows), bool)
    for poor, why in limits:
        if poor.any():
            labels.repairs.append(ColumnRepair("quality", int(poor.sum()), f"{why}: left out"))
            good &= ~poor
    if not good.any():
        raise UserError(f"{cells.file}: no cell passes `quality`; lower its limits")
    labels.keep(good)


def check_positions(cells: RawCells, labels: Labels, config: PerturbDataset) -> None:
    """Every cell to be used must have a place, where places are mapped.

    Raises:
        UserError: one has none; one line.
    """
    if cells.positions is None:
        return
    lost = ~np.isfinite(cells.positions[labels.rows]).all(1)
    if lost.any():
        name = cells.obs.index[labels.rows[lost.argmax()]]
        raise UserError(
            f"{cells.file}, cell {name!r}: obsm[{config.obs.spatial!r}] has no finite position "
            f"({int(lost.sum())} such cells); fix them or unset `obs.spatial`"
        )
