"""Paths of one run of a stage: its inputs, its output and its checkpoints."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class StagePaths:
    """Folders of one run of a stage.

    Attributes:
        key: name of the run, such as `<node>-s<seed>` or, unseeded, `<node>`.
        output: an existing, empty folder to fill; it takes its place when the stage succeeds.
        inputs: upstream artifacts by role: `raw`, `data`, `upstream`, `teacher`, `evaluations`.
        checkpoints: folder of resumable checkpoints of exactly this run.
        root: the repository.
    """

    key: str
    output: Path
    inputs: dict[str, Path] = field(default_factory=dict)
    checkpoints: Path = Path()
    root: Path = Path()
