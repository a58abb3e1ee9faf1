"""Claims of jobs in DVC's list, for results that are kept although a claim was struck from it.

`.dvc/tmp/rwlock` lists which process reads and writes what, by process number and without the name
of the machine. On a cluster, any dvc command of another node, such as `dvc status` on the login
node, finds no process of that number, takes the job for dead and strikes its entry. When the job
ends and its entry is gone, DVC fails (tried: "failed to reproduce", without a reason, after the
training), and nothing is recorded. Jobs are kept apart by Snakemake; so a lost entry is no error.
"""

from __future__ import annotations

from typing import Any


def ignore_missing_rwlock_entries() -> None:
    """Let DVC, in this process, end a command whose entries others have removed."""
    from dvc import rwlock

    def release_write(lock: dict[str, Any], info: dict[str, Any], paths: list[str]) -> None:
        claims = lock.get("write", {})
        for path in paths:
            if claims.get(path) == info:
                del claims[path]
        if not claims:
            lock.pop("write", None)

    def release_read(lock: dict[str, Any], info: dict[str, Any], paths: list[str]) -> None:
        claims = lock.get("read", {})
        for path in paths:
            if info in claims.get(path, ()):
                claims[path].remove(info)
            if path in claims and not claims[path]:
                del claims[path]
        if not claims:
            lock.pop("read", None)

    rwlock._release_write = release_write
    rwlock._release_read = release_read
