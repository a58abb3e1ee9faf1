"""Schemas are checked when they are written and when they are read."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from weir.artifacts.schema_file import ColumnRepair, Repair, SchemaFile
from weir.errors import UserError, WeirError


@dataclass(frozen=True)
class Schema(SchemaFile):
    """A small schema."""

    rows: int
    repairs: tuple[Repair, ...]
    of_columns: tuple[ColumnRepair, ...] = ()


SCHEMA = Schema(3, (Repair("sorted", 1, "x"),), (ColumnRepair("utc", 2, "y"),))


def test_a_schema_comes_back(tmp_path: Path) -> None:
    SCHEMA.save(tmp_path)
    assert Schema.load(tmp_path) == SCHEMA
    repair = {"kind": "sorted", "count": 1, "detail": "x"}
    other = {"kind": "utc", "count": 2, "detail": "y", "columns": []}
    written = {"rows": 3, "repairs": [repair], "of_columns": [other]}
    assert (tmp_path / "schema.json").read_text() == json.dumps(written, indent=1) + "\n"


def test_another_type_is_not_written(tmp_path: Path) -> None:
    bad = replace(SCHEMA, repairs=(Repair("sorted", "many", "x"),))
    with pytest.raises(WeirError, match=r"schema\.json would be damaged \(repairs\.0\.count: "):
        bad.save(tmp_path)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, r"schema\.json cannot be read"),
        ("{", r"schema\.json is damaged \("),
        ('{"rows": 3}', r"schema\.json is damaged \(repairs: "),
        ('{"rows": 3, "repairs": [{"kind": "x"}]}', r"schema\.json is damaged \(repairs\.0\.count"),
    ],
)
def test_damage_names_file_and_field(tmp_path: Path, content: str | None, message: str) -> None:
    if content is not None:
        (tmp_path / "schema.json").write_text(content)
    with pytest.raises(UserError, match=rf"{message}.*; rerun weir preprocess") as caught:
        Schema.load(tmp_path)
    assert "\n" not in str(caught.value)
