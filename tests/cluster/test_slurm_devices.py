"""Trainings of several processes, on one node and on two, started by srun within their job."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from checkout import RIVER
from safetensors.torch import load_file
from slurm_cluster import Cluster
from slurm_project import Project, make_project

pytestmark = pytest.mark.cluster

TOLERANCE = 1e-4
"""Of weights: the sums of floats have another order."""

NODE = """\
  {name}:
    dataset: river
    backbone: {{width: 8, layers: 1, heads: 2}}
    training: {{steps: 10, batch_size: 10, accumulate: 3, validate_every: 5, ema: 0.9}}
"""
SITE = """\
default-resources:
  slurm_partition: cpu
  tasks: 1
set-resources:
  stage1:
    tasks: "1 if wildcards.run == 'one-s0' else 2"
    nodes: "2 if wildcards.run == 'spread-s0' else 1"
    mem_mb: 4000
"""
NAMES = ("one", "pair", "spread")


@pytest.fixture(scope="module")
def project(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """The same training in one process, in two of a node, and in one on each of two nodes."""
    params = f"{RIVER}stage1:\n" + "".join(NODE.format(name=name) for name in NAMES)
    made = make_project(tmp_path_factory.mktemp("devices") / "repository", params, SITE)
    targets = [f"results/stage1/{name}-s0" for name in NAMES]
    made.snakemake("--profile", "slurm", *targets, WEIR_ACCELERATOR="cpu", WEIR_TRACKING="spool")
    return made


@pytest.mark.parametrize(("name", "nodes", "tasks"), [("pair", 1, 2), ("spread", 2, 2)])
def test_processes_of_a_job_train_as_one(
    project: Project, name: str, nodes: int, tasks: int
) -> None:
    command = ["scontrol", "show", "job", str(project.job(f"stage1@{name}-s0").number)]
    told = subprocess.run(command, check=True, capture_output=True, text=True, timeout=60).stdout
    assert f"NumNodes={nodes} " in told
    assert f"NumTasks={tasks} " in told
    one, several = (_weights(project.root, each) for each in ("one", name))
    assert max((v - several[k]).abs().max().item() for k, v in one.items()) < TOLERANCE


def _weights(root: Path, name: str) -> dict:
    return load_file(root / f"results/stage1/{name}-s0/model.safetensors")
