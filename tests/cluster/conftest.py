"""One Slurm for all tests here; they are skipped, with the reason, where it cannot run."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

# The small repositories of the pipeline's tests are used here as well.
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "pipeline"))

from slurm_cluster import CannotRun, Cluster


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    """A running Slurm."""
    slurm = Cluster()
    was_up = slurm.is_up()
    try:
        slurm.up()
    except CannotRun as reason:
        slurm.down()
        pytest.skip(f"no Slurm here: {reason}")
    yield slurm
    if not was_up:
        slurm.down()
