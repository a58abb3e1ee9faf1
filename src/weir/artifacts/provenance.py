"""Provenance: what is true of a run and no part of its result: times, commit, machine, versions.

The record of a run lies at `results/provenance/<stage>/<run>/<digest>.json`, the digest being that
of its output. DVC does not know of it, so equal results are equal whenever and wherever they were
made; and a result that is restored from the cache finds its own record again. A clone has none.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from weir.artifacts.description import Field
from weir.files import folder_digest, write_atomically

FOLDER = Path("results/provenance")

KEYS = (
    Field("stage", "text", "of the run"),
    Field("run", "text", "node, fold and seed"),
    Field("fingerprint", "text", "of settings, inputs and code"),
    Field("inputs", "mapping", "digest of each input by its role"),
    Field("upstream", "list", "`stage`, `run`, `fingerprint`, `commit`, `seconds` of all above"),
    Field("commit", "text or null", "of the code"),
    Field("uncommitted_changes", "true or false", "whether tracked files differed from it"),
    Field("seconds", "number", "time of the stage"),
    Field("times", "mapping", "what an evaluation measured: see `results/evaluate`"),
    Field("mlflow_run_id", "text or null", "the run in MLflow"),
    Field("hardware", "mapping", "processor, cores that may be used, and GPUs"),
    Field("versions", "mapping", "of Python and packages"),
)
"""Keys of a record."""


def place(root: Path, stage: str, run: str, digest: str, suffix: str = "json") -> Path:
    """Where the record of an output lies.

    Args:
        root: the repository.
        stage: that made the output.
        run: node, fold and seed.
        digest: of the output.
        suffix: of the file.
    """
    return root / FOLDER / stage / run / f"{digest[:16]}.{suffix}"


def write_record(root: Path, record: Mapping[str, Any], digest: str) -> None:
    """Keep the record of the output of that digest."""
    text = json.dumps(record, indent=1, sort_keys=True)
    write_atomically(place(root, record["stage"], record["run"], digest), text + "\n")


def read_record(root: Path, output: Path, digest: str | None = None) -> dict[str, Any] | None:
    """The record of a run's output; None if there is none, or it is damaged.

    Args:
        root: the repository.
        output: the folder `results/<stage>/<run>`.
        digest: of the output, if it is known already.
    """
    file = place(root, output.parent.name, output.name, digest or folder_digest(output))
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    needed = {key.name for key in KEYS}
    return found if isinstance(found, dict) and needed <= found.keys() else None
