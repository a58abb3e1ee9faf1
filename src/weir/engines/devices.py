"""`weir stage1 NAME` with several devices: the same command once for each, and one answer.

`weir` starts the processes, by `srun` within a Slurm job and by itself elsewhere, and waits. Each
is the whole command; they find each other when they train (`weir.training.devices`), and all but
the first leave before results are written. Whatever one of them dies of is said once, and the
others end with it.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from weir.errors import UserError, WeirError
from weir.processes import count, is_main_process, processes, started_by_slurm
from weir.stage_table import STAGES

VARIABLE = "WEIR_TOGETHER"
"""Folder in which the processes say what they died of; its presence says that they are started."""
GRACE = 10.0
"""Seconds in which processes must end after one of them has failed."""
_KEPT = ("SLURM_JOB_ID", "SLURM_JOBID", "SLURM_CLUSTER_NAME", "SLURM_CONF")
_PASSED_ON = (signal.SIGTERM, signal.SIGUSR1, signal.SIGHUP, signal.SIGINT)


def wanted(resources: Mapping[str, Any]) -> str:
    """Variables for a training to which Snakemake gives some resources; none for one process.

    There is one process for each GPU (`gpu` in all, or `gres: gpu:4` on each node), without GPUs
    as many as `tasks`, on as many `nodes`. A single one leaves the environment as it is.

    Raises:
        UserError: the processes cannot be shared evenly by the nodes.
    """
    nodes = int(resources.get("nodes", 1))
    each = re.fullmatch(r"gpu(?::[a-zA-Z_][\w.]*)?(?::(\d+))?", str(resources.get("gres", "")))
    if each:
        total = nodes * int(each[1] or 1)
    else:
        total = int(resources.get("gpu") or resources.get("tasks", 1))
    if total % nodes:
        raise UserError(
            f"set-resources: {total} processes cannot be shared evenly by {nodes} nodes; fix gpu, "
            "tasks or nodes in the profile"
        )
    return f"WEIR_DEVICES={total // nodes} WEIR_NODES={nodes}" if total > 1 else ""


def run_together(stage: str, root: Path) -> int | None:
    """Exit code of a stage that several processes have run; None if this process shall run it.

    Args:
        stage: which stage.
        root: of the repository, which all nodes see.

    Raises:
        UserError: counts that make no sense.
    """
    if started_by_slurm():
        if VARIABLE in os.environ:
            # srun was called on the job's first node; its name may mean nothing on the others.
            os.environ.setdefault("MASTER_ADDR", os.environ["SLURM_LAUNCH_NODE_IPADDR"])
        return None
    if not STAGES[stage].trains:
        return None
    if processes() == 1 or VARIABLE in os.environ or "LOCAL_RANK" in os.environ:
        return None
    scratch = root / ".weir"
    scratch.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=scratch, prefix="together-") as folder:
        environment = os.environ | {VARIABLE: folder, "TORCH_CPP_LOG_LEVEL": "ERROR"}
        within = "SLURM_JOB_ID" in os.environ and shutil.which("srun")
        codes = _wait(_by_srun(environment) if within else _here(environment))
        return _answer(Path(folder), codes)


def note_failure(message: str, code: int) -> bool:
    """Leave the message of this process to the one that started it; False if none has.

    The first process says by itself what it has to say, except that another has left it.
    """
    folder = os.environ.get(VARIABLE)
    if folder is None:
        return False
    from weir.training.distributed import PeerLost

    parted = isinstance(sys.exc_info()[1], PeerLost)
    own = is_main_process() and not parted
    rank = os.environ.get("SLURM_PROCID" if started_by_slurm() else "LOCAL_RANK", "0")
    entry = {"message": message, "code": code, "parted": parted, "said": own}
    with contextlib.suppress(OSError):
        Path(folder, f"{rank}.json").write_text(json.dumps(entry), encoding="utf-8")
    return not own


def _by_srun(environment: dict[str, str]) -> list[subprocess.Popen[bytes]]:
    """One `srun` within the present job, on all its nodes."""
    nodes, devices = count("WEIR_NODES"), count("WEIR_DEVICES")
    command = [
        "srun",
        f"--nodes={nodes}",
        f"--ntasks={nodes * devices}",
        f"--ntasks-per-node={devices}",
        # The step in which this process runs holds the job's cores, memory and GPUs already.
        "--overlap",
        "--overcommit",
        "--mpi=none",
        "--kill-on-bad-exit=1",
        "--wait=0",  # the first process goes on alone, for as long as it takes
    ]
    if cores := os.environ.get("SLURM_CPUS_PER_TASK"):
        command.append(f"--cpus-per-task={cores}")
    # Options of the step around, which srun would take for its own.
    environment = {
        name: value
        for name, value in environment.items()
        if not name.startswith(("SLURM_", "SRUN_", "SBATCH_")) or name in _KEPT
    }
    # This process is on the job's first node, where the first of the processes will be.
    environment.setdefault("MASTER_PORT", str(_free_port()))
    return [subprocess.Popen([*command, *_command()], env=environment)]


def _here(environment: dict[str, str]) -> list[subprocess.Popen[bytes]]:
    """A process for each device of this machine."""
    devices = count("WEIR_DEVICES")
    places = ("NODE_RANK", "MASTER_ADDR", "MASTER_PORT")
    if count("WEIR_NODES") > 1 and not all(name in os.environ for name in places):
        raise UserError(
            "WEIR_NODES: outside of a Slurm job the command has to be started on each node, with "
            f"{', '.join(places)} set"
        )
    node = os.environ.get("NODE_RANK", "0")
    common = {
        "NODE_RANK": node,
        "WORLD_SIZE": str(processes()),
        "MASTER_ADDR": os.environ.get("MASTER_ADDR", "127.0.0.1"),
        "MASTER_PORT": os.environ.get("MASTER_PORT", str(_free_port())),
    }
    return [
        subprocess.Popen(
            _command(),
            env=environment | common | {"LOCAL_RANK": str(rank)},
            preexec_fn=_end_with_parent,
        )
        for rank in range(devices)
    ]


def _command() -> list[str]:
    return [sys.executable, *sys.orig_argv[1:]]


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("", 0))
        return int(probe.getsockname()[1])


def _end_with_parent() -> None:
    """Have the kernel send SIGTERM when the process that waits is killed; on Linux only."""
    import ctypes

    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(1, signal.SIGTERM, 0, 0, 0)


def _wait(started: list[subprocess.Popen[bytes]]) -> list[int]:
    """Exit codes, negative for signals, when all have ended; after a failure, by force."""

    def pass_on(number: int, frame: Any) -> None:
        # Ctrl-C has reached them all by itself, and a second one would end them at once.
        for each in started:
            if each.poll() is None:
                each.send_signal(signal.SIGTERM if number == signal.SIGINT else number)

    previous = {number: signal.signal(number, pass_on) for number in _PASSED_ON}
    deadline: float | None = None
    try:
        while any(each.poll() is None for each in started):
            failed = any(each.returncode for each in started)
            if failed and deadline is None:
                deadline = time.monotonic() + GRACE
            if deadline is not None and time.monotonic() > deadline:
                for each in started:
                    if each.poll() is None:
                        each.kill()
            time.sleep(0.05)
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
    return [each.returncode for each in started]


def _answer(folder: Path, codes: list[int]) -> int:
    """The exit code of them all, and the message that the first process could not give."""
    if not any(codes):
        return 0
    notes = _notes(folder)
    if any(note["said"] for note in notes):
        return max(note["code"] for note in notes if note["said"])
    for note in notes:
        if not note["parted"]:
            print(f"weir: {note['message']}", file=sys.stderr)
            return int(note["code"])
    killed = [-code for code in codes if code < 0]
    if killed and not notes and len(set(codes)) == 1:
        return _die(killed[0])
    how = f" by {signal.Signals(killed[0]).name}" if killed else ""
    why = ", for want of memory perhaps" if signal.SIGKILL in killed else ""
    raise WeirError(
        f"a process of the training was ended{how}{why}; run it again to resume from the last "
        "checkpoint"
    )


def _notes(folder: Path) -> list[dict[str, Any]]:
    """What the processes have said, by rank; shared folders show files of other nodes late."""
    for _attempt in range(4):
        found = [json.loads(p.read_text(encoding="utf-8")) for p in sorted(folder.glob("*.json"))]
        if any(not note["parted"] for note in found):
            return found
        time.sleep(0.5)
    return found


def _die(number: int) -> int:
    """End as the processes have, by a signal that came to all."""
    with contextlib.suppress(OSError):
        signal.signal(number, signal.SIG_DFL)
    os.kill(os.getpid(), number)
    return 128 + number
