"""Which genes are modelled, and a sample of training cells to fit statistics on."""

from __future__ import annotations

import warnings
from typing import NamedTuple

import anndata
import numpy as np
import scanpy
from scipy import sparse
from sklearn.decomposition import PCA

from weir.errors import UserError
from weir.tasks.perturb.dataset_config import PerturbDataset
from weir.tasks.perturb.reading import RawCells
from weir.tasks.perturb.schema import Repair

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
    repairs: list[Repair]


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
    repairs: list[Repair] = []
    genes = np.flatnonzero(seen >= config.genes.min_cells)
    if dropped := len(seen) - len(genes):
        detail = f"seen in less than {config.genes.min_cells} training cells: left out"
        repairs.append(Repair("genes", dropped, detail))
    most = config.genes.highly_variable
    if most is not None and len(genes) > most:
        repairs.append(
            Repair("genes", len(genes) - most, f"not among the {most} most variable: left out")
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
