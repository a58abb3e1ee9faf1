"""A repository with a small pipeline, in which both engines are run as a user runs them."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from dvc.repo import Repo

REPOSITORY = Path(__file__).resolve().parents[2]

RIVER = """\
seeds:
- 0
datasets:
  river:
    task: forecast
    source:
      simulator: {rows: 600, variables: 2, seed: 0}
    frequency: 1h
    cycle: 12
    split: {ratios: [0.6, 0.2, 0.2]}
    lookback: 12
    horizon: 4
"""
"""The beginning of a params.yaml: a small data set."""

PARAMS = f"""\
# Minimal: every kind of stage, seconds each.
{RIVER}\
stage1:
  net:
    dataset: river
    backbone: {{width: 8, layers: 1, heads: 2}}
    training: {{steps: 3, batch_size: 8, validate_every: 3}}
stage2:
  flow:
    stage1: net
    network: {{width: 8, layers: 1, heads: 2}}
    training: {{steps: 3, batch_size: 8, validate_every: 3}}
teacher:
  flow: {{model: stage2/flow, steps: 2, draws: 2, conditions: 16}}
distill:
  student:
    teacher: flow
    draws: 2
    training:
      steps: 3
      batch_size: 8
      validate_every: 3
      learning_rate: 1.0e-3

baseline:
  naive: {{method: seasonal_naive, dataset: river}}
evaluate:
  student: {{model: distill/student, samples: 4}}
  naive: {{model: baseline/naive, samples: 4}}
report:
  all: {{title: Test}}
"""

STUDENT = {"distill@student-s0", "evaluate@student-s0", "report@all"}
"""What depends on the settings of the student."""

CHAIN = ("stage1@net-s0", "stage2@flow-s0", "teacher@flow-s0", "distill@student-s0")
STAGES = {
    "fetch@river",
    "preprocess@river",
    *CHAIN,
    "baseline@naive",
    "evaluate@student-s0",
    "evaluate@naive",
    "report@all",
}


@dataclass(frozen=True)
class Checkout:
    """A clone of the repository in which commands are run as a user runs them."""

    root: Path

    def run(self, *command: str, ok: bool = True, **variables: str) -> str:
        """Output of a command, both streams; `ok=False` expects a failure."""
        done = subprocess.run(
            command,
            cwd=self.root,
            env=_environment(self.root) | variables,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=300,
        )
        assert (done.returncode == 0) == ok, f"{' '.join(command)}:\n{done.stdout}"
        return done.stdout

    def snakemake(self, *options: str, ok: bool = True, **variables: str) -> str:
        """Output of `snakemake`."""
        return self.run("snakemake", *options, ok=ok, **variables)

    def dvc(self, *options: str, ok: bool = True, **variables: str) -> str:
        """Output of `dvc`."""
        return self.run("dvc", *options, ok=ok, **variables)

    def executed_by_snakemake(self, *options: str, ok: bool = True, **variables: str) -> set[str]:
        """Stages whose command `snakemake` really ran."""
        shutil.rmtree(self.root / "logs", ignore_errors=True)
        self.snakemake(*options, ok=ok, **variables)
        logs = self.root.glob("logs/**/*.log")
        return _executed("".join(log.read_text() for log in logs))

    def executed_by_dvc(self, *options: str, ok: bool = True, **variables: str) -> set[str]:
        """Stages whose command `dvc repro` really ran."""
        return _executed(self.dvc("repro", *options, ok=ok, **variables))

    def planned(self, *options: str) -> set[str]:
        """Stages that `snakemake -n` plans."""
        text = self.snakemake("-n", *options)
        jobs = re.findall(r"^(?:local)?rule (\w+):\n((?:    .*\n)*)", text, re.MULTILINE)
        found = set()
        for rule, body in jobs:
            run = re.search(r"wildcards: run=(\S+)", body)
            found.add(f"{rule}@{run[1]}" if run else rule)
        return found - {"all"}

    def stale(self) -> set[str]:
        """Stages that `dvc status` names, once the code is hashed: a dry run leaves that undone."""
        self.dvc("repro", "--quiet", "plan")
        with contextlib.chdir(self.root), Repo() as repo:
            return set(repo.status())

    def edit(self, file: str, old: str, new: str) -> None:
        """Replace a text in a file."""
        path = self.root / file
        text = path.read_text()
        assert old in text
        path.write_text(text.replace(old, new))

    def copy(self, to: Path) -> Checkout:
        """The same repository elsewhere, with its outputs and its cache."""
        shutil.copytree(self.root, to, symlinks=True)
        return Checkout(to)


def _executed(text: str) -> set[str]:
    return set(re.findall(r"^Running stage '(.+)':$", text, re.MULTILINE)) - {"plan"}


def _environment(root: Path) -> dict[str, str]:
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("WEIR_", "DVC"))}
    return kept | {
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]),
        "PYTHONPATH": str(root / "src"),
        "PYTHONDONTWRITEBYTECODE": "1",
        "DVC_NO_ANALYTICS": "1",
        "GIT_CONFIG_GLOBAL": os.devnull,
        **{
            f"GIT_{who}_{what}": "test@example.org"
            for who in ("AUTHOR", "COMMITTER")
            for what in ("NAME", "EMAIL")
        },
    }
