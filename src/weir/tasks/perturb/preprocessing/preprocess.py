"""A raw `.h5ad` to a processed folder, in three passes that never hold the matrix.

The first pass checks every value and sums up each cell; the second looks at the training cells to
choose genes; the third writes the chosen genes of the cells that are left, piece by piece, and
then what describes them.
"""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from scipy import sparse

from weir.artifacts.growing_array import GrowingArray
from weir.artifacts.raw_folder import RawFolder
from weir.artifacts.schema_file import ColumnRepair
from weir.errors import UserError
from weir.tasks.perturb.data.cells import DATA, INDICES, INDPTR
from weir.tasks.perturb.data.load import CELLS, NICHE, digest
from weir.tasks.perturb.data.pca import Pca
from weir.tasks.perturb.data.schema import LAW, PARTS, Context, LibraryLaw, Reading, Schema
from weir.tasks.perturb.preprocessing.checks import Totals, check_positions, count_totals, drop_poor
from weir.tasks.perturb.preprocessing.genes import choose_genes, fit_components, niche_features
from weir.tasks.perturb.preprocessing.labels import Labels, read_labels
from weir.tasks.perturb.preprocessing.reading import RawCells, open_cells
from weir.tasks.perturb.preprocessing.selection import (
    TEST,
    TRAIN,
    matched_contexts,
    split_parts,
    unseen,
)
from weir.tasks.perturb.settings.dataset import LeaveGroupOut, PerturbDataset, Random


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

    def __exit__(self, *error: object) -> None:
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


def preprocess(config: PerturbDataset, raw: Path, output: Path) -> None:
    """Check the cells of a raw folder, and write the processed folder.

    Raises:
        UserError: the cells are not usable as `config` describes them; one line.
    """
    source = RawFolder.read(raw).main
    file = raw / source.name
    with open_cells(file, config) as cells:
        labels = read_labels(cells, config)
        check_positions(cells, labels, config)
        totals = count_totals(cells, config)
        drop_poor(cells, labels, totals, config)
        context, contexts = matched_contexts(file, labels, config)
        part = split_parts(file, labels, context, config)
        context, part = _drop_unseen(file, labels, context, part, config)
        chosen = choose_genes(cells, labels.rows[part == TRAIN], config)
        library = _write_counts(cells, labels, totals, chosen.genes, output)
        genes = tuple(str(name) for name in cells.genes[chosen.genes])
        names = cells.obs.index.astype(str).to_numpy()[labels.rows]
        batches, batch = _codes(labels.batch)
        cell_types, cell_type = _codes(labels.cell_type)
        niche = np.zeros((len(part), 0))
        if cells.positions is not None:
            niche = niche_features(
                cells.positions[labels.rows],
                labels.section,
                cell_type,
                len(cell_types),
                config.neighbours,
            )
    train = library[part == TRAIN]
    scale = config.scale or float(np.median(train))
    log = np.log(np.maximum(train, 1))
    mean, components = fit_components(chosen.sample, scale, config.components)
    context, contexts = _present(context, contexts)
    perturbations = tuple(sorted({name for c in labels.conditions for name in c.doses}))
    dose_scale = _dose_scale(labels, part, perturbations)
    table = pd.DataFrame(
        {
            "name": names,
            "row": labels.rows,
            "part": part,
            "batch": batch,
            "cell_type": cell_type,
            "condition": labels.condition,
            "context": context,
            "library": library.astype("float32"),
        }
    )
    schema = Schema(
        task="perturb",
        genes=genes,
        perturbations=perturbations,
        conditions=tuple(labels.conditions),
        cell_types=cell_types,
        batches=batches,
        contexts=tuple(contexts),
        niche=niche.shape[1],
        dose_scale=dose_scale,
        scale=scale,
        library=LibraryLaw(float(log.mean()), float(log.std())),
        fold=config.folds[0] if len(config.folds) == 1 else None,
        simulated=(raw / LAW[0]).exists(),
        cells={name: int((part == i).sum()) for i, name in enumerate(PARTS)},
        repairs=(*labels.repairs, *chosen.repairs),
        source_sha256=source.sha256,
        digest="",
        reading=Reading(
            config.layer, config.genes.name, config.obs.model_dump(), config.neighbours
        ),
    )
    pca = Pca(torch.from_numpy(mean).float(), torch.from_numpy(components).float())
    describe_folder(output, table, niche, pca, schema)
    if schema.simulated:
        for name in LAW:
            shutil.copyfile(raw / name, output / name)


def _drop_unseen(
    file: Path, labels: Labels, context: np.ndarray, part: np.ndarray, config: PerturbDataset
) -> tuple[np.ndarray, np.ndarray]:
    """Leave out test cells under perturbations that no training cell has seen, in place."""
    new = unseen(labels, part)
    if new.any():
        names = sorted({labels.conditions[i].name for i in np.unique(labels.condition[new])})
        asked = isinstance(config.held_out, LeaveGroupOut | Random)
        if not asked or not ((part == TEST) & ~new).any():
            raise UserError(
                f"{file}: no training cell has seen {', '.join(map(repr, names[:8]))}, so nothing "
                "can be learnt of it; fix `held_out`"
            )
        labels.repairs.append(
            ColumnRepair("unseen", int(new.sum()), f"only in held-out cells: {', '.join(names)}")
        )
        labels.keep(~new)
        context, part = context[~new], part[~new]
    if not (part == TEST).any():
        raise UserError(f"{file}: no cell is held out; raise `held_out.share`")
    return context, part


def _write_counts(
    cells: RawCells, labels: Labels, totals: Totals, genes: np.ndarray, output: Path
) -> np.ndarray:
    """Write the chosen genes of the cells left; returns their libraries, `[cell]` float64."""
    library = np.zeros(len(labels.rows))
    everything = len(genes) == len(cells.genes)
    with CountsWriter(output, len(genes), totals.most) as writer:
        for rows, piece in cells.chunks():
            here = slice(*np.searchsorted(labels.rows, (rows.start, rows.stop)))
            kept = piece[labels.rows[here] - rows.start]
            kept = kept if everything else kept[:, genes]
            library[here] = np.asarray(kept.sum(1, dtype="float64"))[:, 0]
            writer.append(kept)
    return library


def _codes(names: np.ndarray) -> tuple[tuple[str, ...], np.ndarray]:
    """Names in order, and each cell's code: 1 for the first, 0 for unmapped."""
    found, code = np.unique(names.astype(str), return_inverse=True)
    if len(found) == 1 and not found[0]:
        return (), np.zeros(len(names), "int64")
    return tuple(found.tolist()), code.astype("int64") + 1


def _present(context: np.ndarray, contexts: list[Context]) -> tuple[np.ndarray, list[Context]]:
    """Contexts that still have cells, and each cell's number among them."""
    present, number = np.unique(context, return_inverse=True)
    return number, [contexts[i] for i in present]


def _dose_scale(labels: Labels, part: np.ndarray, names: tuple[str, ...]) -> tuple[float, ...]:
    """Median positive dose of each perturbation over the training cells."""
    number = labels.condition[part == TRAIN]
    medians = []
    for name in names:
        dose = np.array([c.doses.get(name, 0.0) for c in labels.conditions])[number]
        medians.append(float(np.median(dose[dose > 0])))
    return tuple(medians)
