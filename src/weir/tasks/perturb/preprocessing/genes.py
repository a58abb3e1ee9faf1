"""Genes that are modelled, and statistics fitted on a sample of training cells; niches of cells.

A niche is where a cell sits in its tissue: who its neighbours are, and which part of the section it
is in. No expression enters, so that nothing of the answer leaks; raw coordinates do not either,
because they mean nothing across sections.
"""

from __future__ import annotations

import warnings
from typing import NamedTuple

import anndata
import numpy as np
import scanpy
from scipy import sparse
from scipy.spatial import cKDTree
from sklearn.decomposition import PCA

from weir.artifacts.schema_file import ColumnRepair
from weir.errors import UserError
from weir.tasks.perturb.preprocessing.reading import RawCells
from weir.tasks.perturb.settings.dataset import PerturbDataset

WAVES = (0.5, 1.0)
"""Frequencies of the Fourier features, in cycles over four standard deviations of a section."""


def niche_features(
    positions: np.ndarray, section: np.ndarray, cell_type: np.ndarray, types: int, neighbours: int
) -> np.ndarray:
    """Spatial features of cells.

    Args:
        positions: `[cell, axis]`, any unit.
        section: `[cell]`, sections by any label; cells are neighbours only within one.
        cell_type: `[cell]` int64, 0 for unknown.
        types: number of known cell types.
        neighbours: number of nearest other cells that are looked at.

    Returns:
        `[cell, types + 1 + 2 * axes * waves]` float32: shares of the cell types (unknown first)
        among the neighbours, then sine and cosine of the standardised coordinates.
    """
    axes = positions.shape[1]
    shares = np.zeros((len(positions), types + 1), "float32")
    waves = np.zeros((len(positions), axes, len(WAVES), 2), "float32")
    for name in np.unique(section):
        rows = np.flatnonzero(section == name)
        here = positions[rows]
        count = min(neighbours, len(rows) - 1)
        if count:
            # The nearest of count + 1 need not be the cell itself where positions coincide.
            near = cKDTree(here).query(here, count + 1)[1]
            own = near == np.arange(len(rows))[:, None]
            own[~own.any(1), -1] = True
            others = rows[near[~own].reshape(len(rows), count)]
            for kind in range(types + 1):
                shares[rows, kind] = (cell_type[others] == kind).mean(1)
        spread = here.std(0)
        standard = (here - here.mean(0)) / np.where(spread > 0, spread, 1)
        angle = 2 * np.pi * standard[:, :, None] * np.array(WAVES) / 4
        waves[rows] = np.stack([np.sin(angle), np.cos(angle)], -1)
    return np.concatenate([shares, waves.reshape(len(positions), -1)], 1)


SAMPLE = 20_000
"""Training cells at most that dispersions and principal components are computed from."""


class Choice(NamedTuple):
    """Chosen genes.

    Attributes:
        genes: `[gene]` int64 columns of the file, in its order.
        sample: counts `[cell, gene]` of training cells, all of them or `SAMPLE` at random.
        repairs: what was left out.
    """

    genes: np.ndarray
    sample: sparse.csr_matrix
    repairs: list[ColumnRepair]


def choose_genes(cells: RawCells, train: np.ndarray, config: PerturbDataset) -> Choice:
    """Choose genes by the training cells alone, in one pass over the matrix.

    Args:
        cells: the open file.
        train: `[cell]` int64, rows of the training cells in the file, ascending.
        config: `genes` says how.

    Raises:
        UserError: fewer than two genes are left.
    """
    sample_rows = train
    if len(train) > SAMPLE:
        sample_rows = np.sort(np.random.default_rng(0).choice(train, SAMPLE, replace=False))
    seen = np.zeros(len(cells.genes), "int64")
    pieces = []
    for rows, piece in cells.chunks():
        here = train[slice(*np.searchsorted(train, (rows.start, rows.stop)))] - rows.start
        part = piece if len(here) == piece.shape[0] else piece[here]
        seen += np.bincount(part.indices, minlength=len(seen))
        picked = slice(*np.searchsorted(sample_rows, (rows.start, rows.stop)))
        pieces.append(piece[sample_rows[picked] - rows.start].astype("float32"))
    sample = sparse.vstack(pieces, format="csr")
    repairs: list[ColumnRepair] = []
    genes = np.flatnonzero(seen >= config.genes.min_cells)
    if dropped := len(seen) - len(genes):
        detail = f"seen in less than {config.genes.min_cells} training cells: left out"
        repairs.append(ColumnRepair("genes", dropped, detail))
    most = config.genes.highly_variable
    if most is not None and len(genes) > most:
        repairs.append(
            ColumnRepair(
                "genes", len(genes) - most, f"not among the {most} most variable: left out"
            )
        )
        genes = genes[variable_genes(sample[:, genes], most, config.scale)]
    if len(genes) < 2:
        raise UserError(
            f"{cells.file}: {len(genes)} genes are left of {len(seen)}; lower `genes.min_cells`"
        )
    return Choice(genes, sample[:, genes], repairs)


def variable_genes(counts: sparse.csr_matrix, most: int, scale: float | None) -> np.ndarray:
    """The genes of highest normalised dispersion, ascending (Satija et al. 2015, by scanpy)."""
    table = anndata.AnnData(counts.copy())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of cells without counts, and of pandas to come
        scanpy.pp.normalize_total(table, target_sum=scale)
        scanpy.pp.log1p(table)
        scanpy.pp.highly_variable_genes(table, n_top_genes=most, flavor="seurat")
    return np.flatnonzero(table.var["highly_variable"])


def fit_components(
    sample: sparse.csr_matrix, scale: float, most: int
) -> tuple[np.ndarray, np.ndarray]:
    """Mean `[gene]` and principal components `[k, gene]` of log-normalised expression.

    The sample stays sparse: the mean is subtracted implicitly. `k` is `most`, or one less than
    the cells or genes there are.
    """
    expression = sample.astype("float64")
    library = np.asarray(expression.sum(1))[:, 0]
    factor = scale / np.where(library > 0, library, 1)
    expression.data *= np.repeat(factor, np.diff(expression.indptr))
    np.log1p(expression.data, out=expression.data)
    k = min(most, min(expression.shape) - 1)
    fitted = PCA(k, svd_solver="arpack", random_state=0).fit(expression)
    return fitted.mean_, np.ascontiguousarray(fitted.components_)
