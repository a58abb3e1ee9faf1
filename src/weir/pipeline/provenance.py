"""Provenance of a result: code, versions, machine, inputs."""

from __future__ import annotations

import json
import os
import platform
import subprocess
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from weir.pipeline.job import Job
    from weir.pipeline.layout import Layout

PACKAGES = ("weir", "torch", "lightning-fabric", "numpy", "pandas", "dvc", "snakemake", "mlflow")


def provenance(job: Job, layout: Layout, seconds: float, run_id: str | None) -> dict[str, Any]:
    """The record written beside a result; nothing in it changes what the result is."""
    commit, dirty = commit_of(layout)
    return {
        "stage": job.stage,
        "run": job.key,
        "fingerprint": job.fingerprint,
        "inputs": job.input_digests,
        "upstream": list(_ancestors(job).values()),
        "commit": commit,
        "uncommitted_changes": dirty,
        "seconds": round(seconds, 1),
        "mlflow_run_id": run_id,
        "hardware": hardware(),
        "versions": {"python": platform.python_version()}
        | {name: version(name) for name in PACKAGES},
    }


def _ancestors(job: Job) -> dict[str, dict[str, Any]]:
    """Stage, run, fingerprint, seconds and MLflow run of every stage above, by stage and run."""
    found: dict[str, dict[str, Any]] = {}
    for folder in job.inputs.values():
        try:
            record = json.loads((folder / "provenance.json").read_text(encoding="utf-8"))
        except OSError:
            continue  # data sets have none: the same data must have the same bytes
        kept = ("stage", "run", "fingerprint", "commit", "seconds", "mlflow_run_id")
        for item in (*record["upstream"], {key: record[key] for key in kept}):
            found[f"{item['stage']}@{item['run']}"] = item
    return found


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
