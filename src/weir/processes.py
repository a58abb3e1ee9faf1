"""Rank of this process among those of a training, from the environment, before torch is loaded.

`WEIR_DEVICES` says how many processes there are on each node, `WEIR_NODES` on how many nodes. They
are started by `weir` (see `weir.engines.devices`), by the user's own `srun` or `torchrun`, or,
where `train` is called as a library, by Lightning Fabric.
"""

from __future__ import annotations

import os
import sys

from weir.errors import UserError


def count(name: str) -> int:
    """Value of `WEIR_DEVICES` or `WEIR_NODES`.

    Raises:
        UserError: it is no whole number of at least 1.
    """
    value = os.environ.get(name, "1")
    if not value.isdecimal() or int(value) < 1:
        raise UserError(f"{name}={value}: give a whole number of at least 1")
    return int(value)


def processes() -> int:
    """How many processes work on a training."""
    return count("WEIR_DEVICES") * count("WEIR_NODES")


def started_by_slurm() -> bool:
    """Whether `srun` has started all processes of the training, this one among them.

    Raises:
        UserError: it has started several, but not as many as are wanted.
    """
    # Of a step; a job's own SLURM_NTASKS says what was asked for, not what was started.
    tasks = int(os.environ.get("SLURM_STEP_NUM_TASKS", "1"))
    if tasks > 1 and tasks != processes():
        raise UserError(
            f"srun started {tasks} processes, WEIR_DEVICES x WEIR_NODES is {processes()}: "
            "start the command once, without srun, or set WEIR_DEVICES to the processes per node"
        )
    return tasks > 1


def is_main_process() -> bool:
    """Whether this process writes artifacts."""
    ranks = [os.environ.get(name, "0") for name in ("LOCAL_RANK", "NODE_RANK")]
    if started_by_slurm():
        ranks.append(os.environ.get("SLURM_PROCID", "0"))
    return all(rank == "0" for rank in ranks)


def leave_to_main_process() -> None:
    """End every process but the main one, which goes on to write the artifacts."""
    if not is_main_process():
        sys.stdout.flush()
        raise SystemExit(0)
