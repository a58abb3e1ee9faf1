"""Schema files: a typed `schema.json` in a processed or model folder, alike for every task."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Self

from weir.artifacts.description import check_typed, read_typed

SCHEMA = "schema.json"


@dataclass(frozen=True)
class Repair:
    """A change that preprocessing made to the raw data, or a thing worth knowing of it.

    Attributes:
        kind: what was done, in a word or two: `left out`, `utc`, `duplicates`, `quality`, ...
        count: rows, cells, events, pictures, ... concerned.
        detail: how, in words.
    """

    kind: str
    count: int
    detail: str


@dataclass(frozen=True)
class ColumnRepair(Repair):
    """The same of data with columns, which the file then always lists.

    Attributes:
        kind: what was done, in a word or two.
        count: rows, cells, genes, ... concerned.
        detail: how, in words.
        columns: columns concerned; empty for whole rows.
    """

    columns: tuple[str, ...] = ()


@dataclass(frozen=True)
class SchemaFile:
    """Base of a frozen dataclass whose fields are the contents of `schema.json`."""

    def save(self, folder: Path) -> None:
        """Write `schema.json` into a folder.

        Raises:
            WeirError: a field has another type than the dataclass says.
        """
        text = json.dumps(asdict(self), indent=1) + "\n"
        check_typed(type(self), folder / SCHEMA, text)
        (folder / SCHEMA).write_text(text)

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read `schema.json` of a processed folder.

        Raises:
            UserError: the file is missing or damaged.
        """
        return read_typed(cls, folder / SCHEMA, "rerun weir preprocess")
