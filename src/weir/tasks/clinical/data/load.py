"""Processed records, loaded to tensors.

A processed folder holds the events as four arrays (see `store`), `records.parquet` (one row a
record: subject, part, first and last set, origin, prediction, outcome, subgroups), `static.npy`,
`schema.json` and, for simulated records, their law. Room `preprocessing` writes it, which is apart
so that an edit of the checks retrains nothing.
"""

from __future__ import annotations

import hashlib
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from torch import Tensor

from weir.errors import UserError
from weir.tasks.clinical.data.records import ARRAYS, EventStore, RecordSet, RecordTable
from weir.tasks.clinical.data.schema import PARTS, Part, Schema

RECORDS, STATIC = "records.parquet", "static.npy"

COLUMNS = {
    "subject_id": "<i8",
    "prediction_time": "<i8",
    "part": "<i8",
    "first_set": "<i8",
    "last_set": "<i8",
    "origin": "<f8",
    "prediction": "<f8",
    "outcome": "<f4",
}
"""Columns of `records.parquet`, and their types; a column `subgroup/<name>` follows for each.

`prediction_time` is in microseconds since 1970; `origin` and `prediction` are in minutes since
the subject's first stored event."""


@dataclass(frozen=True)
class ClinicalData:
    """Processed records, resident in memory or mapped.

    Attributes:
        store: every event.
        table: every record.
        part: `[record]` int64: 0 train, 1 validation, 2 test.
        schema: codes, static features and the rest of `schema.json`.
        folder: where it was loaded from; holds the law if `schema.simulated`.
    """

    store: EventStore
    table: RecordTable
    part: Tensor
    schema: Schema
    folder: Path

    @property
    def name(self) -> str:
        """Name of the dataset node, with its fold if it has several."""
        return self.folder.name

    @cached_property
    def identity(self) -> pd.DataFrame:
        """Columns `subject_id` and `prediction_time` (microseconds since 1970) of each record."""
        columns = ["subject_id", "prediction_time"]
        return pq.read_table(self.folder / RECORDS, columns=columns).to_pandas()

    def card(self) -> dict[str, Any]:
        """What a model must know of its data, for its folder."""
        return asdict(self.schema)

    def split(self, part: Part) -> RecordSet:
        """The records of a part."""
        return self.records(self.part == PARTS.index(part))

    def records(self, mask: Tensor) -> RecordSet:
        """The records of a mask `[record]`."""
        return RecordSet(self.store, self.table, mask.nonzero()[:, 0], self.schema.subgroups)

    def to(self, device: torch.device | str) -> ClinicalData:
        """The same records on `device`."""
        return ClinicalData(
            self.store.to(device),
            self.table.to(device),
            self.part.to(device),
            self.schema,
            self.folder,
        )


def load(folder: Path) -> ClinicalData:
    """Load a processed folder.

    Raises:
        UserError: a file is missing or damaged, or does not fit the schema; one line.
    """
    schema = Schema.load(folder)
    try:
        frame = pq.read_table(folder / RECORDS).to_pandas()
        static = np.load(folder / STATIC)
        store = load_store(folder, schema)
        columns = {
            name: torch.from_numpy(frame[name].to_numpy(kind).copy())
            for name, kind in COLUMNS.items()
        }
        groups = frame[[subgroup_column(name) for name in schema.subgroups]].to_numpy("int64")
    except (OSError, EOFError, pa.ArrowException, KeyError, ValueError) as error:
        text = str(error).splitlines()[0]
        raise UserError(f"{folder} cannot be read ({text}); rerun weir preprocess") from None
    if digest(folder, frame) != schema.digest:
        raise UserError(f"{folder} does not fit its schema.json; rerun weir preprocess")
    table = RecordTable(
        static=torch.from_numpy(static),
        groups=torch.from_numpy(groups.copy()),
        **{
            name: columns[name]
            for name in ("first_set", "last_set", "origin", "prediction", "outcome")
        },
    )
    return ClinicalData(store, table, columns["part"], schema, folder)


def load_store(folder: Path, schema: Schema) -> EventStore:
    """The events of a folder.

    Raises:
        OSError, ValueError: a file is missing or damaged.
    """
    return EventStore.load(
        folder,
        torch.tensor([float("nan"), *(code.mean for code in schema.codes)]),
        torch.tensor([float("nan"), *(code.sd for code in schema.codes)]),
    )


def subgroup_column(name: str) -> str:
    """Column of `records.parquet` with the number of each record's group."""
    return f"subgroup/{name}"


def digest(folder: Path, records: pd.DataFrame) -> str:
    """SHA-256 of a folder's arrays, and of the table of records column by column."""
    sha256 = hashlib.sha256()
    for name in (*ARRAYS, STATIC):
        with (folder / name).open("rb") as file:
            sha256.update(hashlib.file_digest(file, "sha256").digest())
    for name, values in records.items():
        sha256.update(str(name).encode())
        sha256.update(values.to_numpy(COLUMNS.get(str(name), "<i8")).tobytes())
    return sha256.hexdigest()
