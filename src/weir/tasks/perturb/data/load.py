"""Processed cells, loaded to tensors.

A processed folder holds the counts as three arrays (see `counts`), `cells.parquet` (one row a
cell: name, part, codes, library), `niche.npy`, `pca.safetensors`, `schema.json` and, for
simulated cells, their law. Room `preprocessing` writes it, which is apart so that an edit of the
checks retrains nothing.
"""

from __future__ import annotations

import hashlib
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from safetensors import SafetensorError
from torch import Tensor

from weir.errors import UserError
from weir.tasks.perturb.data.cells import DATA, INDICES, INDPTR, CellSet, CellTable, SparseCounts
from weir.tasks.perturb.data.pca import PCA, Pca
from weir.tasks.perturb.data.schema import CONTROL, PARTS, Part, Schema

CELLS, NICHE = "cells.parquet", "niche.npy"


class Response(NamedTuple):
    """A question put to a model: the cells of a context under a condition.

    Attributes:
        name: for people, `B cells / stim`.
        context: number in `schema.contexts`.
        condition: number in `schema.conditions`, not the control.
        truth: the measured cells of the part asked for.
        sources: control cells of the context, of training and validation.
        neighbours: training cells under the condition in each other context that has some.
    """

    name: str
    context: int
    condition: int
    truth: CellSet
    sources: CellSet
    neighbours: tuple[CellSet, ...]


@dataclass(frozen=True)
class PerturbData:
    """Processed cells, resident in memory.

    Attributes:
        table: every cell.
        part: `[cell]` int64: 0 train, 1 validation, 2 test.
        pca: components fitted on the training cells.
        schema: genes, conditions, contexts and the rest of `schema.json`.
        folder: where it was loaded from; holds the law if `schema.simulated`.
    """

    table: CellTable
    part: Tensor
    pca: Pca
    schema: Schema
    folder: Path

    @property
    def name(self) -> str:
        """Name of the dataset node, with its fold if it has several."""
        return self.folder.name

    @cached_property
    def cell_names(self) -> np.ndarray:
        """`[cell]` str: names of the cells in the raw file."""
        return pq.read_table(self.folder / CELLS, columns=["name"])["name"].to_numpy()

    def card(self) -> dict[str, Any]:
        """What a model must know of its data, for its folder."""
        return asdict(self.schema)

    def split(self, part: Part) -> CellSet:
        """The cells of a part."""
        return self.cells(self.part == PARTS.index(part))

    def to(self, device: torch.device | str) -> PerturbData:
        """The same cells on `device`."""
        return PerturbData(
            self.table.to(device),
            self.part.to(device),
            self.pca.to(device),
            self.schema,
            self.folder,
        )

    def responses(self, part: Part) -> list[Response]:
        """One for each context and condition with perturbed cells in a part, in their order."""
        table, schema = self.table, self.schema
        control = table.condition == CONTROL
        truths = self._groups((self.part == PARTS.index(part)) & ~control)
        sources = self._groups((self.part != PARTS.index("test")) & control)
        train = self._groups((self.part == PARTS.index("train")) & ~control)
        none = table.context.new_empty(0)
        found = []
        for (context, condition), rows in truths.items():
            others = [
                CellSet(table, near)
                for (other, alike), near in train.items()
                if alike == condition and other != context
            ]
            found.append(
                Response(
                    f"{schema.contexts[context].name} / {schema.conditions[condition].name}",
                    context,
                    condition,
                    CellSet(table, rows),
                    CellSet(table, sources.get((context, CONTROL), none)),
                    tuple(others),
                )
            )
        return found

    def _groups(self, mask: Tensor) -> dict[tuple[int, int], Tensor]:
        """Rows of the cells in a mask by their context and condition, in ascending order."""
        rows = mask.nonzero()[:, 0]
        width = len(self.schema.conditions)
        key = self.table.context[rows] * width + self.table.condition[rows]
        key, order = key.sort(stable=True)
        keys, sizes = key.unique_consecutive(return_counts=True)
        groups = rows[order].split(sizes.tolist())
        return {
            divmod(number, width): group
            for number, group in zip(keys.tolist(), groups, strict=True)
        }

    def cells(self, mask: Tensor) -> CellSet:
        """The cells of a mask `[cell]`."""
        return CellSet(self.table, mask.nonzero()[:, 0])


def load(folder: Path) -> PerturbData:
    """Load a processed folder.

    Raises:
        UserError: a file is missing or damaged, or does not fit the schema; one line.
    """
    schema = Schema.load(folder)
    try:
        frame = pq.read_table(folder / CELLS).to_pandas()
        counts = SparseCounts.load(folder, len(schema.genes))
        niche = np.load(folder / NICHE)
        pca = Pca.load(folder)
        codes = {
            name: torch.from_numpy(frame[name].to_numpy("int64"))
            for name in ("part", "batch", "cell_type", "condition", "context")
        }
        library = torch.from_numpy(frame["library"].to_numpy("float32"))
    except (OSError, pa.ArrowException, SafetensorError, KeyError, ValueError) as error:
        text = str(error).splitlines()[0]
        raise UserError(f"{folder} cannot be read ({text}); rerun weir preprocess") from None
    if digest(folder, frame) != schema.digest:
        raise UserError(f"{folder} does not fit its schema.json; rerun weir preprocess")
    table = CellTable(
        counts=counts,
        library=library,
        niche=torch.from_numpy(niche),
        condition_doses=_doses(schema),
        **{name: codes[name] for name in ("batch", "cell_type", "condition", "context")},
    )
    return PerturbData(table, codes["part"], pca, schema, folder)


def digest(folder: Path, cells: pd.DataFrame) -> str:
    """SHA-256 of a folder's arrays, and of the table of cells column by column."""
    sha256 = hashlib.sha256()
    for name in (DATA, INDICES, INDPTR, NICHE, PCA):
        with (folder / name).open("rb") as file:
            sha256.update(hashlib.file_digest(file, "sha256").digest())
    for name in ("part", "batch", "cell_type", "condition", "context"):
        sha256.update(cells[name].to_numpy("<i8").tobytes())
    sha256.update(cells["library"].to_numpy("<f4").tobytes())
    sha256.update("\n".join(cells["name"]).encode())
    return sha256.hexdigest()


def _doses(schema: Schema) -> Tensor:
    """Dose of each perturbation in each condition, `[condition, perturbation]`."""
    doses = torch.zeros(len(schema.conditions), len(schema.perturbations))
    number = {name: i for i, name in enumerate(schema.perturbations)}
    for i, condition in enumerate(schema.conditions):
        for name, dose in condition.doses.items():
            doses[i, number[name]] = dose
    return doses
