"""Places of all files, relative to the repository root."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from weir.errors import UserError

if TYPE_CHECKING:
    from weir.pipeline.runs import Run


@dataclass(frozen=True)
class Layout:
    """Paths of a Weir repository."""

    root: Path

    @property
    def plan(self) -> Path:
        """The compiled runs, read by dvc.yaml."""
        return self.root / "workflow" / "plan.json"

    @property
    def work(self) -> Path:
        """Checkpoints, spool and other things that are no results."""
        return self.root / ".weir"

    def folder(self, run: Run) -> str:
        """Output folder of a run, relative to the root; of a dataset, the processed one."""
        section = run.node.section
        return f"{'data/processed' if section == 'datasets' else f'results/{section}'}/{run.key}"

    def raw(self, dataset: str) -> str:
        """Folder of a dataset's raw files, relative to the root."""
        return f"data/raw/{dataset}"

    def checkpoints(self, section: str, key: str, fingerprint: str) -> Path:
        """Folder of resumable checkpoints, outside declared outputs: both engines delete those."""
        return self.work / "checkpoints" / section / key / fingerprint


def find_root(start: Path | None = None) -> Path:
    """The repository root: the nearest folder upward that holds dvc.yaml.

    Raises:
        UserError: there is none.
    """
    start = (start or Path.cwd()).resolve()
    for folder in (start, *start.parents):
        if (folder / "dvc.yaml").is_file():
            return folder
    raise UserError(f"{start}: no dvc.yaml here or above; change into a Weir repository")
