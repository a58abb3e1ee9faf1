"""One Slurm for all tests here; they are skipped, with the reason, where it cannot run."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
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
