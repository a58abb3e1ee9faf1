"""Start of the shipper: one for a repository, by the first stage that needs it."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
from pathlib import Path

from filelock import FileLock, Timeout

from weir.tracking.journal import spool_folder
from weir.tracking.store import MLFLOW_SETTINGS

LOCK, STARTED, LOG = "shipper.lock", "shipper.started", "shipper.log"


def ensure_shipper(root: Path) -> None:
    """Start a shipper for a repository if none is at work."""
    if os.environ.get("WEIR_TRACKING", "").lower() == "spool":
        return
    spool = spool_folder(root)
    lock = FileLock(spool / LOCK)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        return
    lock.release()
    environment = {**MLFLOW_SETTINGS, **os.environ}
    # Inside pytest MLflow checks its own sessions and fails on harmless ones.
    environment.pop("PYTEST_CURRENT_TEST", None)
    # The shipper takes its lock when its imports are done. Until then, and as long as it lives, it
    # holds this one: of many stages that start at once one starts it.
    started = os.open(spool / STARTED, os.O_RDWR | os.O_CREAT)
    try:
        fcntl.flock(started, fcntl.LOCK_EX | fcntl.LOCK_NB)
        with (spool / LOG).open("ab") as output:
            subprocess.Popen(
                [sys.executable, "-m", "weir.tracking.shipper", str(root)],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=output,
                env=environment,
                cwd=root,  # the folder of a stage may be a copy that is soon removed
                start_new_session=True,
                pass_fds=(started,),
            )
    except BlockingIOError:
        return
    finally:
        os.close(started)
