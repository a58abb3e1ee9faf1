"""Fingerprints: what a result depends on, in one hash."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from weir.files import file_digest

UNHASHED = ("provenance.json", ".snakemake_timestamp")
"""Files of an artifact that say how it came about, not what it is."""


def digest(value: Any) -> str:
    """Hash of a JSON value; the order of keys does not matter."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def folder_digest(path: Path) -> str:
    """Hash of the names and contents of a file or of all files below a folder."""
    if path.is_file():
        return file_digest(path)
    files = (file for file in sorted(path.rglob("*")) if file.is_file())
    return digest(
        [
            (file.relative_to(path).as_posix(), file_digest(file))
            for file in files
            if file.name not in UNHASHED
        ]
    )


def fingerprint(
    stage: str, key: str, config: Mapping[str, Any], inputs: Mapping[str, str], code: str
) -> str:
    """Identity of a run: parameters, inputs and code. A checkpoint of another is never resumed.

    Args:
        inputs: digest of each input folder by its role.
        code: digest of the code that the stage imports.
    """
    parts = {
        "stage": stage,
        "run": key,
        "config": config,
        "inputs": dict(inputs),
        "code": code,
    }
    return digest(parts)[:16]
