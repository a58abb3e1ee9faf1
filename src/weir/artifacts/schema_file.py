"""Schema files: a typed `schema.json` in a processed or model folder, alike for every task."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Self

from pydantic import TypeAdapter, ValidationError

from weir.errors import UserError

SCHEMA = "schema.json"


@dataclass(frozen=True)
class SchemaFile:
    """Base of a frozen dataclass whose fields are the contents of `schema.json`."""

    def save(self, folder: Path) -> None:
        """Write `schema.json` into a folder."""
        (folder / SCHEMA).write_text(json.dumps(asdict(self), indent=1) + "\n")

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read `schema.json` of a processed folder.

        Raises:
            UserError: the file is missing or damaged.
        """
        file = folder / SCHEMA
        try:
            return TypeAdapter(cls).validate_json(file.read_bytes())
        except OSError:
            raise UserError(f"{file} cannot be read; rerun weir preprocess") from None
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(map(str, first["loc"]))
            raise UserError(
                f"{file} is damaged ({where}: {first['msg']}); rerun weir preprocess"
            ) from None
