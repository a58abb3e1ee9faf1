"""The whole quickstart as jobs of a real Slurm, and the same on this machine without it.

    python benchmarks/slurm_quickstart.py [--jobs 3] [--skip-local] [--folder /tmp/slurm]

Needs root and Debian: brings up the Slurm of tests/cluster, clones this repository's last commit
twice without its results and runs `snakemake` in the one clone, `snakemake --profile slurm` in the
other, with the profile as it is. Afterwards both engines must have nothing left to do, every job
must have run once, and the weights must be the same bytes. Printed as JSON:

- wall seconds of both and their ratio,
- jobs, and those that had a GPU, by stage,
- of each job, what Slurm counted beside the stage's own command: the two processes of Snakemake.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from slurm_project import Project

REPOSITORY = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(REPOSITORY / "tests" / folder) for folder in ("cluster", "pipeline")]


def clone(folder: Path) -> Project:
    """The last commit, its results neither there nor in a cache."""
    from slurm_project import Project

    subprocess.run(["git", "clone", "--quiet", str(REPOSITORY), str(folder)], check=True)
    return Project(folder)


def timed(project: Project, *words: str) -> float:
    """Wall seconds of a `snakemake` that must succeed, and after which nothing is left to do."""
    environment = os.environ | {
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]),
        "PYTHONPATH": str(project.root / "src"),
        "DVC_NO_ANALYTICS": "1",
    }
    begun = time.monotonic()
    with (project.root / "output.log").open("wb") as log:
        code = subprocess.run(
            ["snakemake", *words],
            cwd=project.root,
            env=environment,
            stdout=log,
            stderr=subprocess.STDOUT,
        ).returncode
    wall = time.monotonic() - begun
    if code:
        raise SystemExit(f"snakemake {' '.join(words)}: see {project.root}/output.log")
    for command, sign in (
        (["dvc", "status"], "up to date"),
        (["snakemake", "-n"], "Nothing to be done"),
    ):
        done = subprocess.run(
            command, cwd=project.root, env=environment, capture_output=True, text=True
        )
        if sign not in done.stdout + done.stderr:
            raise SystemExit(f"{' '.join(command)}: {done.stdout}{done.stderr}")
    return wall


def weights(project: Project) -> dict[str, bytes]:
    """Every trained model by its path."""
    files = sorted((project.root / "results").rglob("model.safetensors"))
    return {str(file.relative_to(project.root)): file.read_bytes() for file in files}


def beside_the_stage(project: Project) -> list[float]:
    """Of each of a project's jobs, seconds beside its stage's own command."""
    text = subprocess.run(
        ["scontrol", "show", "job", "--oneliner"], check=True, capture_output=True, text=True
    ).stdout
    seconds = []
    for line in text.splitlines():
        known = dict(re.findall(r"(\w+)=(\S*)", line))
        if known.get("WorkDir") != str(project.root):
            continue
        begun, ended = (datetime.fromisoformat(known[name]) for name in ("StartTime", "EndTime"))
        stage, _, run = known["Comment"].removeprefix("rule_").partition("_wildcards_")
        with (project.root / "logs" / stage / f"{run}.tsv").open(newline="") as file:
            own = float(list(csv.DictReader(file, delimiter="\t"))[-1]["s"])
        seconds.append((ended - begun).total_seconds() - own)
    return seconds


def main() -> None:
    """Print the figures."""
    from slurm_cluster import Cluster

    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--jobs", type=int, default=3, help="jobs at once")
    parser.add_argument("--skip-local", action="store_true", help="not on this machine as well")
    parser.add_argument("--folder", type=Path, help="keep the clones here")
    options = parser.parse_args()
    folder = (options.folder or Path(tempfile.mkdtemp())).resolve()
    found: dict[str, Any] = {}
    local = None
    if not options.skip_local:
        local = clone(folder / "local")
        found["local_wall_s"] = round(timed(local, "--cores", "all"), 1)
    cluster = Cluster()
    was_up = cluster.is_up()
    begun = time.monotonic()
    cluster.up()
    found["cluster_up_s"] = round(time.monotonic() - begun, 1)
    try:
        project = clone(folder / "slurm")
        found["slurm_wall_s"] = round(
            timed(project, "--profile", "slurm", "--jobs", str(options.jobs)), 1
        )
        jobs = project.jobs()
        assert len({job.stage for job in jobs}) == len(jobs), "a stage ran twice"
        found["jobs"] = len(jobs)
        found["jobs_with_gpu"] = Counter(job.stage.partition("@")[0] for job in jobs if job.gpus)
        found["jobs_without_gpu"] = Counter(
            job.stage.partition("@")[0] for job in jobs if not job.gpus
        )
        beside = beside_the_stage(project)
        found["beside_the_stage_s"] = {
            "median": statistics.median(beside),
            "largest": max(beside),
        }
        if local is not None:
            found["ratio"] = round(found["slurm_wall_s"] / found["local_wall_s"], 2)
            found["same_weights"] = weights(local) == weights(project)
    finally:
        if not was_up:
            cluster.down()
    if options.folder is None:
        shutil.rmtree(folder)
    print(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
