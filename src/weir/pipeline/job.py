"""A job: one stage on one node, seed and fold."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from weir.settings.base import Config
from weir.stage_table import STAGES


@dataclass(frozen=True)
class Job:
    """A stage to run: which, on which node, seed and fold, and where.

    Attributes:
        dataset: name of the dataset node; empty for a report.
        fold: index of the held-out group; None where there are not several.
        kind: of the models that it works with; empty for a report.
        shown: runs of evaluations that a report shows.
    """

    stage: str
    name: str
    key: str
    seed: int
    task: str
    dataset: str
    config: Config
    inputs: dict[str, Path]
    output: Path
    fingerprint: str
    input_digests: dict[str, str]
    fold: int | None = None
    kind: str = ""
    shown: tuple[str, ...] = ()

    @property
    def section(self) -> str:
        """Section of params.yaml that holds the node."""
        return STAGES[self.stage].section
