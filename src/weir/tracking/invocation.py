"""One invocation of the pipeline: the parent of the runs that it starts.

An invocation is `snakemake`, `dvc repro` or any program that calls `open_invocation`. It is found
by its token in WEIR_PARENT_RUN (not MLFLOW_RUN_ID, which would override the parent), else by
looking for the engine among the ancestors of this process. Its MLflow run is made when the first
of its stages reports, in that stage's experiment, so that an invocation that had nothing to do
leaves nothing behind.
"""

from __future__ import annotations

import contextlib
import json
import os
import platform
import re
import time
import uuid
from pathlib import Path
from typing import Any

from weir.programs import program
from weir.tracking.journal import EVENTS, Journal, first_event, spool_folder

VARIABLE = "WEIR_PARENT_RUN"
ENGINES = ("snakemake", "dvc")


def open_invocation(root: Path, name: str, tags: dict[str, str] | None = None) -> str:
    """Announce an invocation that ends with this process at the latest.

    Args:
        name: what the parent run is called, such as the command typed.

    Returns:
        Its token, to be passed to stages as WEIR_PARENT_RUN.
    """
    token = uuid.uuid4().hex
    _announce(root, token, name, tags or {}, os.getpid())
    return token


def close_invocation(root: Path, token: str, status: str = "FINISHED") -> None:
    """End an invocation.

    Args:
        status: FINISHED, FAILED or KILLED.
    """
    from weir.tracking.start import ensure_shipper

    folder = invocation_folder(root, token)
    if folder.exists():
        with contextlib.closing(Journal(folder, owned=False)) as journal:
            journal.append("end", status=status, time=int(time.time() * 1000))
        if any(spool_folder(root).glob("*/events.jsonl")):
            ensure_shipper(root)


def current_invocation(root: Path) -> str | None:
    """Token of the invocation that this process belongs to, or None if started by hand."""
    token = os.environ.get(VARIABLE, "").strip()
    if token:
        # It becomes part of a path and of a query.
        plain = re.fullmatch(r"[\w-]{1,64}", token, re.ASCII)
        return token if plain else uuid.uuid5(uuid.NAMESPACE_OID, token).hex
    engine = _engine_above()
    if engine is None:
        return None
    pid, started, command = engine
    token = uuid.uuid5(uuid.NAMESPACE_OID, f"{platform.node()}:{pid}:{started}").hex
    if not (invocation_folder(root, token) / EVENTS).exists():
        _announce(root, token, command, {}, pid)
    return token


def invocation_folder(root: Path, token: str) -> Path:
    """Folder of an invocation's journal."""
    return spool_folder(root) / f"invocation-{token}"


def invocation_lives(folder: Path) -> bool | None:
    """Whether the process of an invocation is there; None if it is another machine's."""
    import psutil

    head = first_event(folder)
    if head is None or head["host"] != platform.node():
        return None
    try:
        return abs(psutil.Process(head["pid"]).create_time() - head["started"]) < 1.0
    except psutil.NoSuchProcess:
        return False


def _announce(root: Path, token: str, name: str, tags: dict[str, str], pid: int) -> None:
    import psutil

    head: dict[str, Any] = {
        "token": token,
        "name": name,
        "tags": tags,
        "host": platform.node(),
        "pid": pid,
        "started": psutil.Process(pid).create_time(),
        "time": int(time.time() * 1000),
    }
    folder = invocation_folder(root, token)
    folder.mkdir(parents=True, exist_ok=True)
    temporary = folder / f"{EVENTS}.{os.getpid()}"
    temporary.write_text(json.dumps({"kind": "invocation", **head}) + "\n", encoding="utf-8")
    # Two stages of one engine may announce it at once: the first one's words stand.
    with contextlib.suppress(FileExistsError):
        os.link(temporary, folder / EVENTS)
    temporary.unlink()


def _engine_above() -> tuple[int, float, str] | None:
    """Process id, start and command of the outermost engine above this process."""
    import psutil

    found = None
    for process in psutil.Process().parents():
        try:
            words = process.cmdline()
            engine = program(words)
            if engine in ENGINES:
                names = [Path(word).name for word in words]
                arguments = words[names.index(engine) + 1 :] if engine in names else words
                started = process.create_time()
                found = (process.pid, started, " ".join([engine, *arguments])[:200])
        except psutil.Error:
            break
    return found
