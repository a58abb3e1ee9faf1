"""Places of all files, relative to the repository root."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from weir.errors import UserError
from weir.stage_table import STAGES

CODE = "results/code.json"
"""Hashes of the code behind each stage, which stage `plan` of dvc.yaml writes."""


@dataclass(frozen=True)
class Layout:
    """Paths of a Weir repository."""

    root: Path

    @property
    def plan(self) -> Path:
        """The compiled runs, read by dvc.yaml."""
        return self.root / "workflow" / "plan.json"

    @property
    def ignore(self) -> Path:
        """What DVC does not see."""
        return self.root / ".dvcignore"

    @property
    def params(self) -> Path:
        """The settings of the repository."""
        return self.root / "params.yaml"

    def owns(self, params: Path) -> bool:
        """Whether a file of settings is the repository's own, of which plan.json is compiled."""
        return params.resolve() == self.params.resolve()

    def refuse_other(self, params: Path | None) -> None:
        """Raise a UserError if the command line names settings that are not the repository's."""
        if params and not self.owns(params):
            raise UserError(
                f"--params {params}: this is done for params.yaml alone; `weir params use` makes "
                "another file the current one"
            )

    @property
    def work(self) -> Path:
        """Checkpoints, spool and other things that are no results."""
        return self.root / ".weir"

    @property
    def code(self) -> Path:
        """The hashes of code."""
        return self.root / CODE

    def raw(self, dataset: str) -> str:
        """Folder of a dataset's raw files, relative to the root."""
        return f"data/raw/{dataset}"

    def processed(self, key: str) -> str:
        """Folder of a preprocessed dataset, or one of its folds, relative to the root."""
        return f"data/processed/{key}"

    def results(self, section: str) -> str:
        """Folder of the results of all runs of a section, relative to the root."""
        return f"results/{section}"

    def folder(self, section: str, key: str) -> str:
        """Output folder of a run, relative to the root; of a dataset, the processed one."""
        if section == "datasets":
            return self.processed(key)
        return f"{self.results(section)}/{key}"

    def output(self, stage: str, key: str) -> str:
        """What a stage makes for a run, relative to the root: a folder, or a report's page."""
        if stage == "fetch":
            return self.raw(key)
        suffix = ".html" if stage == "report" else ""
        return self.folder(STAGES[stage].section, key) + suffix

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


EXPERIMENTS = (".dvc", "tmp", "exps")
"""Where DVC runs experiments of `--temp` and `--queue`: copies of the repository, removed after."""


def outer_root(root: Path) -> Path:
    """The repository of which `root` is a copy that DVC made for an experiment; else `root`."""
    for folder in root.parents:
        if root.relative_to(folder).parts[:3] == EXPERIMENTS:
            return folder
    return root
