"""`weir tracking`: replay what was spooled while the store was unreachable; name the champions."""

from __future__ import annotations

import argparse
import os
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

from weir.errors import UserError
from weir.pipeline.layout import find_root
from weir.tracking.lineage import dvc_md5
from weir.tracking.server import shown_uri
from weir.tracking.shipper import sync
from weir.tracking.store import connect, reachable, resolve_store

if TYPE_CHECKING:
    from weir.tracking.registry import Champion


def run(options: argparse.Namespace) -> int:
    """Do what the command line says; returns the exit code."""
    return show_champions(find_root()) if options.command == "champions" else replay(options)


def replay(options: argparse.Namespace) -> int:
    """Replay the spool and say how much arrived; exit code 2 if something could not be sent."""
    # No stage waits for this: a server that is only slow gets its time.
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "60")
    report = sync(find_root(), options.to)
    print(report)
    return 2 if report.waiting else 0


def show_champions(root: Path) -> int:
    """Print the best student of each data set, and the command that restores it.

    Raises:
        UserError: the store does not answer, or has no champion.
    """
    from weir.tracking.registry import champions

    store = resolve_store(root)
    known = store.database is None or store.database.exists()
    if not known or not reachable(store.uri):
        raise UserError(f"{shown_uri(store.uri)}: no runs are recorded there; run `snakemake`")
    found = champions(connect(store))
    if not found:
        raise UserError(f"{shown_uri(store.uri)}: has no champion; evaluate a student first")
    for champion in found:
        print(f"{champion.dataset}: {champion.folder}, {champion.metric} {champion.value}")
        print(f"  {restoring(champion, root)}")
    return 0


def restoring(champion: Champion, root: Path) -> str:
    """Where a champion is to be had: here, or by a command, in a line."""
    folder = root / champion.folder
    if champion.md5 and folder.exists() and dvc_md5(folder) == champion.md5:
        return f"is in {champion.folder}"
    if not champion.md5:
        return f"md5 unknown, commit {champion.commit or 'unknown'}: evaluate it again to pin it"
    commit = recorded_in(champion.md5, root)
    if not commit:
        return (
            f"md5 {champion.md5}: no commit has it in dvc.lock; commit dvc.lock after a run, so "
            "that its results can be restored"
        )
    target = f"champions/{champion.dataset}"
    return f"dvc get . {champion.folder} --rev {commit} --out {target}"


def recorded_in(md5: str, root: Path) -> str:
    """The first commit whose dvc.lock has an md5, also one of an experiment; empty if none has."""
    found = subprocess.run(
        ["git", "log", "--all", "--reverse", "--format=%H", f"-S{md5}", "--", "dvc.lock"],
        cwd=root,
        capture_output=True,
        text=True,
    )
    return found.stdout.split("\n", 1)[0]
