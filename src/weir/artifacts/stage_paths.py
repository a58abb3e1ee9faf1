"""Paths of one run of a stage: its inputs, its output and its checkpoints."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class StagePaths:
    """Folders of one run of a stage.

    Attributes:
        key: name of the run, such as `<node>-s<seed>` or, unseeded, `<node>`.
        output: an existing, empty folder to fill; it takes its place when the stage succeeds.
        inputs: upstream artifacts by role: `raw`, `data`, `upstream`, `teacher`, `evaluations`.
        checkpoints: folder of resumable checkpoints of exactly this run.
        root: the repository.
        runs: what a report shows of the evaluations; others may lie beside them.
        times: what the stage measures of what it makes; it goes into the run's provenance, not
            into the output, which would never be the same twice.
    """

    key: str
    output: Path
    inputs: dict[str, Path] = field(default_factory=dict)
    checkpoints: Path = Path()
    root: Path = Path()
    runs: tuple[str, ...] = ()
    times: dict[str, Any] = field(default_factory=dict)
