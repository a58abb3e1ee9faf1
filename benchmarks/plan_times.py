"""What it costs to find that nothing is to be done, by number of jobs.

    python benchmarks/plan_times.py [--jobs 10 100 1000] [--folder /tmp/plans]

Builds repositories of chains stage1 -> stage2 -> teacher -> distill -> evaluate whose outputs are
small files, recorded in dvc.lock as if they had been made, and times in each of them

- `snakemake -n`, which asks DVC for its verdict,
- the share of it that is the verdict (`weir.engines.snakemake.invocation.begin` with its imports),
- `dvc status`, and `dvc repro --single-item` of one stage, which every job pays,
- `weir plan --check` and `weir params show`.

Printed as JSON: seconds of the processor (user and system), and of the wall, best of three.
Building the repository of a thousand takes some minutes.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import yaml

REPOSITORY = Path(__file__).resolve().parents[1]

QUADRATIC = 300
"""Jobs beyond which `dvc status`, minutes at a thousand, is timed once."""

BEGIN = """
from pathlib import Path
from weir.engines.snakemake import invocation
invocation.begin(Path.cwd(), {}, main=True)
"""


def build(root: Path, jobs: int) -> int:
    """A repository of about so many jobs, all done; returns how many there are."""
    for name in ("src", "workflow"):
        shutil.copytree(
            REPOSITORY / name, root / name, ignore=shutil.ignore_patterns("__pycache__")
        )
    for name in ("dvc.yaml", ".dvcignore", ".gitignore", "environment.yml"):
        shutil.copy(REPOSITORY / name, root / name)
    content = params(max(1, (jobs - 4) // 5))
    (root / "params.yaml").write_text(yaml.safe_dump(content, sort_keys=False))
    run(root, "git", "init", "--quiet")
    run(root, "dvc", "init", "--quiet")
    shutil.copy(REPOSITORY / ".dvcignore", root / ".dvcignore")
    run(root, "weir", "plan")
    run(root, "dvc", "repro", "--single-item", "--quiet", "plan")
    return pretend(root)


def params(chains: int) -> dict[str, Any]:
    """A params.yaml of one dataset and so many chains on it."""
    quickstart = yaml.safe_load((REPOSITORY / "params.yaml").read_text())
    name, dataset = next(
        (name, node) for name, node in quickstart["datasets"].items() if node["task"] == "forecast"
    )
    training = {"steps": 1000, "learning_rate": 0.001, "ema": 0.99, "validate_every": 200}
    names = [f"chain{index}" for index in range(chains)]
    return {
        "seeds": [0],
        "datasets": {name: dataset},
        "stage1": {each: {"dataset": name, "training": training} for each in names},
        "stage2": {each: {"stage1": each, "training": training} for each in names},
        "teacher": {each: {"model": f"stage2/{each}", "steps": 25} for each in names},
        "distill": {each: {"teacher": each, "training": training} for each in names},
        "evaluate": {each: {"model": f"distill/{each}"} for each in names},
        "report": {"all": {}},
    }


def pretend(root: Path) -> int:
    """Make small outputs and record them in dvc.lock, in one go: DVC rewrites it for each stage."""
    from dvc.repo import Repo, lock_repo
    from dvc.stage.serialize import to_lockfile
    from dvc.utils.serialize import load_yaml

    files = ("config.json", "model.safetensors", "items.npy", "output.npy", "schema.json")
    os.chdir(root)
    with Repo() as repo, lock_repo(repo):
        stages = list(repo.stage.load_all())
        for stage in stages:
            for path in (Path(out.fs_path) for out in stage.outs if stage.name != "plan"):
                made = [path] if path.suffix else [path / name for name in files]
                for file in made:
                    file.parent.mkdir(parents=True, exist_ok=True)
                    file.write_text(f"{stage.name} {file.name}")
        lock = load_yaml("dvc.lock")
        for stage in stages:
            stage.save(run_cache=False)
            stage.commit()
            lock["stages"].update(json.loads(json.dumps(to_lockfile(stage))))
    Path("dvc.lock").write_text(yaml.safe_dump(lock))
    return len(stages)


def run(root: Path, *command: str) -> tuple[float, float]:
    """Processor and wall seconds of a command that must succeed."""
    environment = os.environ | {
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]),
        "PYTHONPATH": str(root / "src"),
        "DVC_NO_ANALYTICS": "1",
    }
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    done = subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True)
    after, wall = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic() - start
    if done.returncode:
        raise SystemExit(f"{' '.join(command)}:\n{done.stdout}{done.stderr}")
    if command[:2] == ("snakemake", "-n") and "Nothing to be done" not in done.stdout + done.stderr:
        raise SystemExit(f"the benchmark's repository is not up to date:\n{done.stderr}")
    return (after.ru_utime + after.ru_stime) - (before.ru_utime + before.ru_stime), wall


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--jobs", type=int, nargs="+", default=[10, 100, 1000])
    parser.add_argument("--folder", type=Path, help="keep the repositories here")
    options = parser.parse_args()
    commands = {
        "snakemake -n": ("snakemake", "-n"),
        "of which the verdict": (sys.executable, "-c", BEGIN),
        "dvc status": ("dvc", "status", "--quiet"),
        "weir plan --check": ("weir", "plan", "--check"),
        "weir params show": ("weir", "params", "show"),
        "dvc repro --single-item": ("dvc", "repro", "--single-item", "evaluate@chain0-s0"),
    }
    table = []
    with tempfile.TemporaryDirectory() as temporary:
        for jobs in options.jobs:
            root = (options.folder or Path(temporary)).resolve() / str(jobs)
            count = build(root, jobs)
            row: dict[str, Any] = {"jobs": count}
            for name, command in commands.items():
                once = name == "dvc status" and count > QUADRATIC
                times = [run(root, *command) for _repeat in range(1 if once else 3)]
                processor, wall = (min(values) for values in zip(*times, strict=True))
                row[name] = {"processor_s": round(processor, 2), "wall_s": round(wall, 2)}
            table.append(row)
    print(json.dumps(table, indent=1))


if __name__ == "__main__":
    main()
