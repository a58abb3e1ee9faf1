"""Claims of jobs in DVC's list, which neither a killed job nor another machine may spoil.

`.dvc/tmp/rwlock` lists which process reads and writes what, by process number and without the name
of the machine. Jobs are kept apart by Snakemake; so a lost entry is no error, and a process that
cannot be a dvc command holds nothing. What goes wrong otherwise:

- On a cluster, any dvc command of another node, such as `dvc status` on the login node, finds no
  process of that number, takes the job for dead and strikes its entry. When the job ends and its
  entry is gone, DVC fails (tried: "failed to reproduce", without a reason, after the training), and
  nothing is recorded.
- DVC empties the file and then writes it. A process that is killed between the two, as by Slurm for
  its time or memory, leaves an empty file, and with it every later dvc command fails.
- The next attempt at a killed job finds the first one's entry. If that process is still about to
  end, or has ended and its parent has not looked yet, or its number is by now another program's,
  DVC takes the files for busy, and the attempt fails.
"""

from __future__ import annotations

import json
import time
from collections import defaultdict
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from weir.files import write_atomically
from weir.programs import program

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dvc.fs import FileSystem

ENDING_SECONDS = 60.0
"""How long a killed process may take to end; its memory is given back meanwhile."""


def tolerate_lost_claims() -> None:
    """Let DVC, in this process, go on where entries or the whole list are lost, and lose none."""
    from dvc import rwlock

    rwlock.psutil = SimpleNamespace(pid_exists=_may_run_dvc)
    rwlock._edit_rwlock = _edit
    rwlock._release_write = _release_write
    rwlock._release_read = _release_read


def await_earlier_attempt(folder: Path, command: str) -> None:
    """Wait while a process that runs the same command still claims files, for it has been killed.

    Args:
        folder: `.dvc/tmp`.
        command: as DVC writes it down.
    """
    end = time.monotonic() + ENDING_SECONDS
    while time.monotonic() < end:
        claims = _read(folder / "rwlock")
        holders = [*claims["write"].values(), *chain(*claims["read"].values())]
        if not any(each["cmd"] == command and _may_run_dvc(each["pid"]) for each in holders):
            return
        time.sleep(0.2)


def _may_run_dvc(pid: int) -> bool:
    """Whether a process of this machine runs Python or a dvc command and has not ended."""
    import psutil

    try:
        process = psutil.Process(pid)
        words = process.cmdline()
        is_dvc = program(words) == "dvc" or Path(words[0] if words else "").name[:6] == "python"
        return is_dvc and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
    except psutil.Error:
        return True  # not ours to look at


@contextmanager
def _edit(folder: str, files: FileSystem, hardlink: bool) -> Iterator[dict[str, Any]]:
    """The list, to be changed in place; it is written whole or not at all.

    Args:
        folder: `.dvc/tmp`.
        files: DVC's view of the file system, which is local.
        hardlink: whether DVC's locks are hard links, as on NFS.
    """
    from dvc import rwlock
    from dvc.lock import make_lock

    path = Path(folder) / rwlock.RWLOCK_FILE
    guard = files.join(folder, rwlock.RWLOCK_LOCK)
    with make_lock(guard, tmp_dir=folder, hardlink_lock=hardlink):
        claims = _read(path)
        yield claims
        write_atomically(path, json.dumps(claims))


def _read(path: Path) -> dict[str, Any]:
    """Claims of all processes; none where the file is absent or was left half-written."""
    from dvc import rwlock
    from dvc.log import logger
    from voluptuous import Invalid

    claims: dict[str, Any] = {}
    try:
        claims = rwlock.SCHEMA(json.loads(path.read_text(encoding="utf-8")))
    except FileNotFoundError:
        pass
    except (ValueError, Invalid):
        logger.getChild(__name__).warning(
            "%s: a dvc command was killed while it wrote this list of running commands; begun anew",
            path,
        )
    claims["read"] = defaultdict(list, claims.get("read", {}))
    claims["write"] = defaultdict(dict, claims.get("write", {}))
    return claims


def _release_write(lock: dict[str, Any], info: dict[str, Any], paths: list[str]) -> None:
    claims = lock.get("write", {})
    for path in paths:
        if claims.get(path) == info:
            del claims[path]
    if not claims:
        lock.pop("write", None)


def _release_read(lock: dict[str, Any], info: dict[str, Any], paths: list[str]) -> None:
    claims = lock.get("read", {})
    for path in paths:
        if info in claims.get(path, ()):
            claims[path].remove(info)
        if path in claims and not claims[path]:
            del claims[path]
    if not claims:
        lock.pop("read", None)
