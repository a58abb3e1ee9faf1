"""Stage `preprocess`: raw data, checked and repaired, in the form a task's models read.

    weir preprocess etth1

Fills `data/processed/<dataset>/`; what lies there is described by the task's `data` module.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol

from weir.tasks import part


class PreprocessPaths(Protocol):
    """What this stage is told about the file system."""

    inputs: dict[str, Path]
    output: Path


def run(
    config: Any,
    paths: PreprocessPaths,
    tracker: Any = None,
    *,
    name: str = "",
    task: str = "",
    seed: int = 0,
) -> None:
    """Preprocess the raw folder `paths.inputs["raw"]` of a `datasets` node into `paths.output`.

    Raises:
        UserError: the data is not usable as the node describes it; one line.
    """
    del tracker, name, task, seed  # What was repaired is in the processed folder itself.
    part(config.task, "preprocessing.preprocess").preprocess(
        config, paths.inputs["raw"], paths.output
    )
