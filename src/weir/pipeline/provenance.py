"""Provenance of a result: code, versions, machine, inputs."""

from __future__ import annotations

import os
import platform
import subprocess
from collections.abc import Mapping
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from weir.artifacts.provenance import read_record
from weir.stage_table import OF_RUNS

if TYPE_CHECKING:
    from weir.pipeline.job import Job
    from weir.pipeline.layout import Layout

PACKAGES = ("weir", "torch", "lightning-fabric", "numpy", "pandas", "dvc", "snakemake", "mlflow")


def provenance(
    job: Job, layout: Layout, seconds: float, times: Mapping[str, Any], run_id: str | None
) -> dict[str, Any]:
    """The record of a run; nothing in it changes what the result is.

    Args:
        job: the run.
        layout: paths of the repository.
        seconds: that the stage took.
        times: that the stage measured of what it made.
        run_id: of MLflow.
    """
    commit, dirty = commit_of(layout)
    return {
        "stage": job.stage,
        "run": job.key,
        "fingerprint": job.fingerprint,
        "inputs": job.input_digests,
        "upstream": list(_ancestors(job, layout).values()),
        "commit": commit,
        "uncommitted_changes": dirty,
        "seconds": round(seconds, 1),
        "times": dict(times),
        "mlflow_run_id": run_id,
        "hardware": hardware(),
        "versions": {"python": platform.python_version()}
        | {name: version(name) for name in PACKAGES},
    }


KEPT = ("stage", "run", "fingerprint", "commit", "seconds", "mlflow_run_id")
"""What a record says of each stage above."""


def _ancestors(job: Job, layout: Layout) -> dict[str, dict[str, Any]]:
    """What is known of every stage above, by stage and run; null where there is no record."""
    found: dict[str, dict[str, Any]] = {}
    for role, folder in job.inputs.items():
        if folder.parent.name not in OF_RUNS:
            continue  # a data set has none
        record = read_record(layout.root, folder, job.input_digests[role])
        if record is None:
            record = dict.fromkeys(KEPT) | {"stage": folder.parent.name, "run": folder.name}
        for item in (*record.get("upstream", ()), {key: record[key] for key in KEPT}):
            found[f"{item['stage']}@{item['run']}"] = item
    return found


def upstream_runs(job: Job, layout: Layout) -> dict[str, str]:
    """MLflow's id of the run that made each input, by role, where that is known."""
    runs = {}
    for role, folder in job.inputs.items():
        if folder.parent.name in OF_RUNS:
            record = read_record(layout.root, folder, job.input_digests[role]) or {}
            if run := record.get("mlflow_run_id"):
                runs[role] = run
    return runs


def commit_of(layout: Layout) -> tuple[str | None, bool]:
    """Commit of the repository, and whether tracked files differ from it."""
    git = ["git", "-C", str(layout.root)]
    try:
        commit = subprocess.run(
            [*git, "rev-parse", "HEAD"], capture_output=True, text=True, check=True
        ).stdout.strip()
        changed = subprocess.run(
            [*git, "status", "--porcelain", "--untracked-files=no"],
            capture_output=True,
            text=True,
            check=True,
        ).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None, False
    return commit, bool(changed)


def hardware() -> dict[str, Any]:
    """Processor, cores that may be used, and GPUs."""
    import torch

    return {
        "machine": platform.machine(),
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0)),
        "gpus": [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())],
    }


def _processor() -> str:
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            for line in file:
                if line.startswith("model name"):
                    return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or "unknown"
