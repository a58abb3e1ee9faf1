"""A small repository on a cluster, and what happens to its jobs."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import checkout
from checkout import REPOSITORY, RIVER, Checkout

BROKEN = "{steps: 3, batch_size: 8, validate_every: 3, monitor: nothing}"
TRAINING = "{steps: 800, batch_size: 8, validate_every: 400, checkpoint_every: 50}"
PARAMS = (
    f"{RIVER}stage1:\n"
    + "".join(
        f"""\
  {name}:
    dataset: river
    backbone: {{width: 8, layers: 1, heads: 2}}
    training: {training}
"""
        for name, training in {
            # The same training four times: nothing happens to the first.
            "calm": TRAINING,
            "cancelled": TRAINING,
            "preempted": TRAINING,
            "late": TRAINING,
            "hungry": "{steps: 3, batch_size: 8, validate_every: 3}",
            "broken": BROKEN,
        }.items()
    )
    + """\
evaluate:
  calm: {model: stage1/calm, samples: 4}
  broken: {model: stage1/broken, samples: 4}
report:
  all: {title: Test}
"""
)
Fixed = (BROKEN, TRAINING)
"""What to replace in params.yaml."""

SITE = """\
default-resources:
  slurm_partition: cpu
  tasks: 1
set-resources:
  stage1:
    gpu: 1
    slurm_partition: "'spot' if wildcards.run == 'preempted-s0' else 'gpu'"
    mem_mb: "(450 if wildcards.run == 'hungry-s0' else 4000) * 4 ** (attempt - 1)"
    runtime: 10 * attempt
  evaluate:
    gpu: 1
    slurm_partition: gpu
    runtime: "3000 if wildcards.run == 'calm-s0' and attempt == 1 else 10"
"""
"""Settings of a site; the first attempt at an evaluation asks for more time than anybody gets."""


@dataclass(frozen=True)
class Job:
    """What Slurm knows of a job, running or ended."""

    number: int
    stage: str
    state: str
    partition: str
    gpus: int
    memory: str
    limit: str
    restarts: int
    log: Path


class Project(Checkout):
    """A repository whose jobs Slurm runs."""

    def start(self, output: Path, *options: str) -> subprocess.Popen[bytes]:
        """`snakemake --profile slurm`, in the background."""
        with output.open("wb") as file:
            return subprocess.Popen(
                ["snakemake", "--profile", "slurm", *options],
                cwd=self.root,
                env=checkout._environment(self.root) | {"WEIR_TRACKING": "spool"},
                stdout=file,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def jobs(self) -> list[Job]:
        """Every job of this repository, in the order of submission."""
        text = subprocess.run(
            ["scontrol", "show", "job", "--oneliner"],
            check=True,
            capture_output=True,
            text=True,
            timeout=60,
        ).stdout
        found = []
        for line in text.splitlines():
            known = dict(re.findall(r"(\w+)=(\S*)", line))
            if known.get("WorkDir") == str(self.root) and "Comment" in known:
                stage = "@".join(known["Comment"].removeprefix("rule_").split("_wildcards_"))
                found.append(
                    Job(
                        int(known["JobId"]),
                        stage,
                        known["JobState"],
                        known["Partition"],
                        int((re.findall(r"gpu:(\d+)", known.get("TresPerJob", "")) or ["0"])[0]),
                        known["MinMemoryNode"],
                        known["TimeLimit"],
                        int(known["Restarts"]),
                        Path(known["StdOut"]),
                    )
                )
        return sorted(found, key=lambda job: job.number)

    def job(self, stage: str) -> Job:
        """The last job of a stage."""
        return [job for job in self.jobs() if job.stage == stage][-1]

    def training(self, key: str) -> bool:
        """Whether a stage 1 is in the middle of its training."""
        return bool(list(self.root.glob(f".weir/checkpoints/stage1/{key}/*/last.safetensors")))

    def freeze(self, name: str, number: signal.Signals = signal.SIGSTOP) -> None:
        """Stop the process of a training, so that it does not end before what is to happen to it.

        Slurm lets it go on when it ends the job: SIGCONT comes before SIGTERM.
        """
        for entry in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                words = (entry / "cmdline").read_bytes().decode().split("\0")
                here = (entry / "cwd").readlink() == self.root
                if here and words[-5:-1] == ["stage1", name, "--seed", "0"]:
                    os.kill(int(entry.name), number)

    def thaw(self, name: str) -> None:
        """Let it go on."""
        self.freeze(name, signal.SIGCONT)

    def journals(self, stage: str) -> list[list[dict]]:
        """What each run of a stage has recorded, in the order of time."""
        runs = []
        for file in self.root.glob(f".weir/spool/{stage.replace('@', '-')}-*/events.jsonl"):
            runs.append([json.loads(line) for line in file.read_text().splitlines()])
        return sorted(runs, key=lambda events: events[0]["time"])

    def weights(self, key: str) -> bytes:
        """A trained stage 1."""
        return (self.root / f"results/stage1/{key}/model.safetensors").read_bytes()


def make_project(root: Path, params: str = PARAMS, site: str = SITE) -> Project:
    """A repository in which nothing has run, with a site's settings in its profile."""
    root.mkdir(parents=True)
    ignored = shutil.ignore_patterns("__pycache__", "*.egg-info")
    for name in ("src", "workflow"):
        shutil.copytree(REPOSITORY / name, root / name, ignore=ignored)
    for name in ("dvc.yaml", ".gitignore", "environment.yml"):
        shutil.copy(REPOSITORY / name, root / name)
    (root / "slurm").symlink_to("workflow/profiles/slurm")
    (root / "params.yaml").write_text(params)
    profile = root / "workflow/profiles/slurm/config.yaml"
    text = profile.read_text()
    profile.write_text(text[: text.index("default-resources:")] + site)
    project = Project(root)
    project.run("git", "init", "--quiet", "--initial-branch=main")
    project.dvc("init", "--quiet")
    shutil.copy(REPOSITORY / ".dvcignore", root / ".dvcignore")
    project.run("weir", "plan")
    project.run("git", "add", "--all")
    project.run("git", "commit", "--quiet", "--message=Begin")
    return project


def until(what: str, holds: Callable[[], bool], seconds: float = 900) -> None:
    """Wait for something to become true."""
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, f"waited {seconds:.0f} s in vain until {what}"
        time.sleep(0.1)


def kill(process: subprocess.Popen[bytes]) -> None:
    """End snakemake and its local jobs at once, as a crash of the login node does."""
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def slurm(*command: str) -> None:
    """Run one of Slurm's commands."""
    subprocess.run(command, check=True, capture_output=True, timeout=60)
