"""Claims of jobs in DVC's list, which neither a killed job nor another machine may spoil.

`.dvc/tmp/rwlock` lists which process reads and writes what, by process number and without the name
of the machine. Jobs are kept apart by Snakemake; so a lost entry is no error. Two things lose some:

- On a cluster, any dvc command of another node, such as `dvc status` on the login node, finds no
  process of that number, takes the job for dead and strikes its entry. When the job ends and its
  entry is gone, DVC fails (tried: "failed to reproduce", without a reason, after the training), and
  nothing is recorded.
- DVC empties the file and then writes it. A process that is killed between the two, as by Slurm for
  its time or memory, leaves an empty file, and with it every later dvc command fails.
"""

from __future__ import annotations

import json
from collections import defaultdict
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from weir.files import write_atomically

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dvc.fs import FileSystem


def tolerate_lost_claims() -> None:
    """Let DVC, in this process, go on where entries or the whole list are lost, and lose none."""
    from dvc import rwlock

    rwlock._edit_rwlock = _edit
    rwlock._release_write = _release_write
    rwlock._release_read = _release_read


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
