"""A user's own cells, read as those that a model was trained on."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from weir.errors import UserError
from weir.files import file_digest
from weir.tasks.perturb.data.cells import Cells
from weir.tasks.perturb.data.schema import Condition, Schema
from weir.tasks.perturb.flow.context import Vocabulary
from weir.tasks.perturb.prediction.request import Request, dataset_of, in_words_of_the_command
from weir.tasks.perturb.preprocessing.checks import check_positions, count_totals, drop_poor
from weir.tasks.perturb.preprocessing.genes import niche_features
from weir.tasks.perturb.preprocessing.labels import (
    Labels,
    no_control,
    parts_of,
    read_columns,
    text_of,
)
from weir.tasks.perturb.preprocessing.reading import RawCells, open_cells
from weir.tasks.perturb.settings.dataset import PerturbDataset

PIECE = 2048
"""Cells that are dense at the same time."""

SHOWN = 8
"""Names listed in a note at most."""


@dataclass(frozen=True)
class NewCells:
    """The cells of an open file that are to be answered, in its order.

    Attributes:
        raw: the open file.
        sha256: of the file.
        columns: `[gene]` int64, column of each of the model's genes; -1 if the file lacks it.
        rows: `[cell]` int64, number in the file.
        batch: `[cell]` int64, 0 for unknown.
        cell_type: `[cell]` int64, 0 for unknown.
        place: `[cell]` int64, the model's matched context plus one, 0 for none of them.
        context: `[cell]` str, its name.
        niche: `[cell, niche]` float32.
        perturbations: number of the model's.
        notes: what the user should know, a line each.
    """

    raw: RawCells
    sha256: str
    columns: np.ndarray
    rows: np.ndarray
    batch: np.ndarray
    cell_type: np.ndarray
    place: np.ndarray
    context: np.ndarray
    niche: np.ndarray
    perturbations: int
    notes: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.rows)

    def keep(self, mask: np.ndarray) -> NewCells:
        """Some of the cells."""
        names = ("rows", "batch", "cell_type", "place", "context", "niche")
        return replace(self, **{name: getattr(self, name)[mask] for name in names})

    def pieces(self) -> Iterator[tuple[slice, Cells]]:
        """All cells in order, some at a time: their numbers, and the cells without doses."""
        found = self.columns >= 0
        wanted = self.columns[found]
        for rows, piece in self.raw.chunks():
            first, last = np.searchsorted(self.rows, (rows.start, rows.stop))
            for begin in range(first, last, PIECE):
                items = slice(begin, min(begin + PIECE, last))
                some = piece[self.rows[items] - rows.start][:, wanted]
                counts = np.zeros((some.shape[0], len(self.columns)), "float32")
                counts[:, found] = some.toarray()
                yield items, self._cells(torch.from_numpy(counts), items)

    def _cells(self, counts: torch.Tensor, items: slice) -> Cells:
        return Cells(
            counts,
            counts.sum(1),
            torch.from_numpy(self.batch[items]),
            torch.from_numpy(self.cell_type[items]),
            torch.zeros(len(counts), self.perturbations),
            torch.from_numpy(self.niche[items]),
        )


@contextmanager
def open_new_cells(file: Path, schema: Schema, request: Request) -> Iterator[NewCells]:
    """Open a file, check it as training data is checked, and match its names with the model's.

    Raises:
        UserError: the file cannot be read so, or is not usable; one line.
    """
    if not file.is_file():
        raise UserError(f"{file} does not exist or is no file; fix --cells")
    with in_words_of_the_command(), _opened(file, schema, request) as cells:
        yield cells


@contextmanager
def _opened(file: Path, schema: Schema, request: Request) -> Iterator[NewCells]:
    sha256 = file_digest(file)
    config = dataset_of(file, sha256, schema, request)
    notes: list[str] = []
    with open_cells(file, config) as raw:
        columns = _match_genes(raw, schema, request, notes)
        absent = {role for role, name in request.obs.items() if not name}
        labels = _labels(raw, config, request, absent, notes)
        if schema.niche:
            check_positions(raw, labels, config)
        drop_poor(raw, labels, count_totals(raw, config), config)
        batch = _codes(labels.batch, schema.batches)
        cell_type = _codes(labels.cell_type, schema.cell_types)
        niche = _niche(raw, labels, cell_type, schema, config)
        # Neighbours in the tissue may be perturbed ones; sources are not.
        chosen = labels.condition == 0
        place = Vocabulary.of(schema).contexts.numpy()[batch, cell_type]
        cells = NewCells(
            raw,
            sha256,
            columns,
            labels.rows,
            batch,
            cell_type,
            place,
            _context_names(labels, place, schema),
            niche.astype("float32"),
            len(schema.perturbations),
            (),
        ).keep(chosen)
        for role, code in (("cell_type", cell_type), ("batch", batch)):
            _note_unknown(raw, role, getattr(labels, role)[chosen & (code == 0)], notes)
        cells = _drop_empty(cells, config, notes)
        yield replace(cells, notes=tuple(notes))


def _match_genes(raw: RawCells, schema: Schema, request: Request, notes: list[str]) -> np.ndarray:
    """Column of each of the model's genes, `[gene]` int64, -1 where there is none."""
    number = {name: k for k, name in enumerate(raw.genes)}
    columns = np.array([number.get(name, -1) for name in schema.genes], dtype="int64")
    lost = [name for name, column in zip(schema.genes, columns, strict=True) if column < 0]
    if not lost:
        return columns
    shown = ", ".join(map(repr, lost[:3]))
    what = f"{raw.file}: {len(lost)} of the model's {len(columns)} genes are missing, {shown}"
    what += " first" if len(lost) > 3 else ""
    if len(lost) == len(columns):
        raise UserError(
            f"{what}; pass --gene-names with the column of var that has the model's kind of names"
        )
    if not request.fill_missing:
        raise UserError(f"{what}; add them, or pass --fill-missing to count them as zero")
    notes.append(f"{what}: counted as zero")
    return columns


def _labels(
    raw: RawCells,
    config: PerturbDataset,
    request: Request,
    absent: set[str],
    notes: list[str],
) -> Labels:
    """Names of the usable cells; condition 0 for those to be answered, 1 for others."""
    column = config.obs.perturbation
    told = not request.all_cells and "perturbation" not in absent
    if told and "perturbation" not in request.obs and column not in raw.obs.columns:
        notes.append(f"{raw.file}: obs has no column {column!r}: no cell is taken as perturbed")
        told = False
    roles = ("cell_type", "batch", "section")
    values, present, repairs = read_columns(
        raw, config, ("perturbation", *roles) if told else roles
    )
    rows = np.flatnonzero(present)
    if not len(rows):
        raise UserError(f"{raw.file}: no cell has a value in every mapped column; fix obs")
    condition = np.zeros(len(rows), "int64")
    if told:
        text = text_of(values["perturbation"].iloc[rows])
        try:
            perturbed = {name for name in set(text) if parts_of(name, config.obs)}
        except ValueError as error:
            raise UserError(f"{raw.file}: {error}; fix obs[{column!r}]") from None
        condition[[name in perturbed for name in text]] = 1
        if condition.all():
            raise no_control(raw, values["perturbation"], config.obs)
    empty = np.full(len(rows), "", dtype=object)
    names = {r: text_of(values[r].iloc[rows]) if r in values else empty for r in roles}
    notes += [f"{raw.file}: {r.count} cells have {r.detail}" for r in repairs]
    conditions = [Condition("control"), Condition("other")]
    return Labels(rows, condition, conditions, repairs=[], **names)


def _codes(names: np.ndarray, known: tuple[str, ...]) -> np.ndarray:
    """`[cell]` int64: 1 for the first of the known names, 0 for others."""
    number = {name: k for k, name in enumerate(known, start=1)}
    return np.array([number.get(name, 0) for name in names], dtype="int64")


def _niche(
    raw: RawCells, labels: Labels, cell_type: np.ndarray, schema: Schema, config: PerturbDataset
) -> np.ndarray:
    """`[cell, niche]`, of all cells, as in preprocessing."""
    if not schema.niche:
        return np.zeros((len(labels.rows), 0))
    found = niche_features(
        raw.positions[labels.rows],
        labels.section,
        cell_type,
        len(schema.cell_types),
        config.neighbours,
    )
    if found.shape[1] != schema.niche:
        raise UserError(
            f"{raw.file}: positions have {raw.positions.shape[1]} axes, which is not what the "
            "model was trained on; fix obsm"
        )
    return found


def _context_names(labels: Labels, place: np.ndarray, schema: Schema) -> np.ndarray:
    """`[cell]` str: of the model's contexts, or made in the same way of the file's names."""
    first = schema.contexts[0]
    roles = [role for role in ("cell_type", "batch") if getattr(first, role) is not None]
    own = [
        ", ".join(name or "unknown" for name in names)
        for names in zip(*(getattr(labels, role) for role in roles), strict=True)
    ] or [""] * len(place)
    known = ("", *(context.name for context in schema.contexts))
    return np.array([known[p] or name for p, name in zip(place, own, strict=True)], dtype=object)


def _note_unknown(raw: RawCells, role: str, names: np.ndarray, notes: list[str]) -> None:
    found = sorted(set(names) - {""})
    if found:
        shown = ", ".join(map(repr, found[:SHOWN])) + (", ..." if len(found) > SHOWN else "")
        notes.append(
            f"{raw.file}: {role} {shown} unknown to the model ({len(names)} cells); taken as such"
        )


def _drop_empty(cells: NewCells, config: PerturbDataset, notes: list[str]) -> NewCells:
    """Without cells that have counts, but none in the model's genes."""
    library = np.zeros(len(cells))
    for items, batch in cells.pieces():
        library[items] = batch.library.numpy()
    empty = library == 0
    if not empty.any():
        return cells
    name = cells.raw.obs.index[cells.rows[empty.argmax()]]
    what = f"{int(empty.sum())} cells have no counts in the model's genes, {name!r} first"
    if config.empty_cells == "error" or empty.all():
        raise UserError(f"{cells.raw.file}: {what}; set `empty_cells: drop`")
    notes.append(f"{cells.raw.file}: {what}: left out")
    return cells.keep(~empty)
