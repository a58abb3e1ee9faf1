"""Raw folders list their files, and say when one is not what is listed."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from weir.artifacts.raw_folder import HASH_FIRST, NAME_FIRST, RawFolder
from weir.errors import UserError, WeirError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A raw folder of two files."""
    (tmp_path / "b.csv").write_bytes(b"1\n")
    (tmp_path / "more").mkdir()
    (tmp_path / "more" / "a.csv").write_bytes(b"")
    RawFolder.record(tmp_path, "simulator", ["more/a.csv", "b.csv"])
    return tmp_path


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def test_a_raw_folder_comes_back(folder: Path) -> None:
    found = RawFolder.read(folder)
    assert found.origin == "simulator" and found.names == ["b.csv", "more/a.csv"]
    assert found.main.name == "more/a.csv" and found.main.sha256 == sha256(b"")
    assert RawFolder.record(folder, found.origin, [file.name for file in found.files]) == found
    one = {"name": "more/a.csv", "sha256": sha256(b""), "bytes": 0}
    other = {"name": "b.csv", "sha256": sha256(b"1\n"), "bytes": 2}
    written = {"origin": "simulator", "files": [one, other]}
    assert (folder / "source.json").read_text() == json.dumps(written, indent=1) + "\n"


def test_hashes_of_several_files_are_of_two_formats(folder: Path) -> None:
    """Both stand in schemas, and must stay."""
    found, (a, b) = RawFolder.read(folder), (sha256(b""), sha256(b"1\n"))
    assert found.combined(NAME_FIRST) == sha256(f"b.csv {b}\nmore/a.csv {a}\n".encode())
    assert found.combined(HASH_FIRST) == sha256(f"{b}  b.csv\n{a}  more/a.csv\n".encode())


def test_a_folder_without_files_is_not_written(tmp_path: Path) -> None:
    with pytest.raises(WeirError, match=r"source\.json would be damaged \(files: ") as caught:
        RawFolder.record(tmp_path, "simulator", [])
    assert not isinstance(caught.value, UserError) and not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"files": []}, r"damaged \(files: "),
        ({"files": None}, r"damaged \(files: "),
        ({"origin": 3}, r"damaged \(origin: "),
        ({"name": ""}, r"damaged \(files\.0\.name: "),
        ({"sha256": "0"}, r"damaged \(files\.0\.sha256: "),
        ({"bytes": -1}, r"damaged \(files\.0\.bytes: "),
    ],
)
def test_damage_names_file_and_field(folder: Path, change: dict[str, Any], message: str) -> None:
    file = folder / "source.json"
    document = json.loads(file.read_text())
    for key, value in change.items():
        (document if key in document else document["files"][0])[key] = value
    file.write_text(json.dumps(document))
    with pytest.raises(
        UserError, match=rf"source\.json is {message}.*; rerun weir fetch"
    ) as caught:
        RawFolder.read(folder)
    assert "\n" not in str(caught.value)


def test_files_that_are_not_as_listed(folder: Path) -> None:
    (folder / "b.csv").write_bytes(b"12\n")
    with pytest.raises(UserError, match=r"b\.csv has 3 bytes, but 2 by source\.json; rerun weir"):
        RawFolder.read(folder)
    (folder / "b.csv").unlink()
    with pytest.raises(UserError, match=r"b\.csv is missing, but listed in source\.json; rerun"):
        RawFolder.read(folder)
    (folder / "source.json").write_text("{")
    with pytest.raises(UserError, match=r"source\.json is damaged .*; rerun weir fetch"):
        RawFolder.read(folder)
    (folder / "source.json").unlink()
    with pytest.raises(UserError, match=r"source\.json cannot be read; rerun weir fetch"):
        RawFolder.read(folder)
