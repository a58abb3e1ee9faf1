"""Lineage and settings of a run as MLflow can hold them.

Of each input: DVC's md5. Of the settings: flat, dotted names with short values.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

VALUE_LIMIT = 6000
"""Longest value of a parameter or tag that MLflow accepts, in characters (tags: 8000)."""
KEY_LIMIT = 250

BY_TOKEN = "token:"
"""What stands before a token of ours where MLflow's id of a run was not known in time. The run is
found by `tags.weir.token = '<token>'`."""

_FORBIDDEN = re.compile(r"[^\w\-./: ]")


def entity_key(name: str) -> str:
    """A name that MLflow accepts: other characters become `_`, a longer one is cut.

    >>> entity_key("coverage@90%")
    'coverage_90_'
    """
    return _FORBIDDEN.sub("_", name)[:KEY_LIMIT]


def entity_value(value: Any) -> str:
    """A value as text, cut with a note if it is too long."""
    if isinstance(value, str):
        text = value
    elif isinstance(value, (list, tuple, dict)):
        text = json.dumps(value, default=str)
    else:
        text = str(value)
    if len(text) <= VALUE_LIMIT:
        return text
    note = f"... [cut: {len(text)} characters]"
    return text[: VALUE_LIMIT - len(note)] + note


_LINE = re.compile(r"^(\s*)(?:- )?(\w+): *(.*?)\s*$")


def dvc_digests(root: Path, paths: Iterable[Path]) -> dict[str, str]:
    """md5 that dvc.lock records for outputs, by path relative to `root`.

    A path that DVC has not recorded (a stage run by hand) is left out. The file is scanned by
    line: it has tens of thousands of them in a large sweep, and a YAML parser takes seconds.
    """
    wanted = {_relative(path, root) for path in paths}
    try:
        lines = (root / "dvc.lock").read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        return {}
    digests: dict[str, str] = {}
    outputs, path = False, ""
    for line in lines:
        match = _LINE.match(line)
        if match is None:
            continue
        indent, key, value = len(match[1]), match[2], match[3].strip("'\"")
        if indent <= 4 and "- " not in line:
            outputs = key == "outs"
        elif key == "path":
            path = value
        elif key == "md5" and outputs and path in wanted:
            digests[path] = value
    return digests


def dvc_md5(path: Path) -> str:
    """The md5 that DVC records for an output as it lies on disk, a file or a folder."""
    if path.is_file():
        return _md5(path)
    files = sorted(
        (file.relative_to(path).as_posix(), file)
        for file in path.rglob("*")
        if file.is_file() and file.name != ".snakemake_timestamp"
    )
    listed = [{"md5": _md5(file), "relpath": name} for name, file in files]
    listed.sort(key=lambda entry: tuple(entry["relpath"].split("/")))
    text = json.dumps(listed, sort_keys=True)
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest() + ".dir"


def _md5(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()


def _relative(path: Path, root: Path) -> str:
    return path.relative_to(root).as_posix() if path.is_relative_to(root) else path.as_posix()
