"""Schema of processed points: the typed contents of `schema.json`."""

from dataclasses import dataclass
from typing import Literal

from weir.artifacts.schema_file import SchemaFile


@dataclass(frozen=True)
class Schema(SchemaFile):
    """Processed points: of each part, the first one and the one after its last."""

    task: Literal["points"]
    splits: dict[str, tuple[int, int]]
