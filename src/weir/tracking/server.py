"""`weir ui`: MLflow's web interface on this machine."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import socket
import sqlite3
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

from weir.errors import UserError
from weir.tracking.store import MLFLOW_SETTINGS, Store, prepare_database, resolve_store
from weir.tracking.views import TAG, view_address

HOST = "127.0.0.1"
SERVER_SETTINGS = {
    **MLFLOW_SETTINGS,
    "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
    "PYTHONWARNINGS": "ignore",
}
"""Environment of our servers. Without jobs (scorers of language models) eight processes fewer."""


def shown_uri(uri: str) -> str:
    """A URI without its password."""
    return re.sub(r"//[^/@]+@", "//", uri)


def free_port(wanted: int = 0) -> int:
    """`wanted` if nobody listens there, else any free port of the loopback interface."""
    for port in (wanted, 0):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((HOST, port))
            except OSError:
                continue
            return probe.getsockname()[1]
    raise UserError(f"{HOST}: no free port; close a program that listens, or name one with --port")


def server_command(store: Store, port: int) -> list[str]:
    """Command of a server over a local database, which is made ready."""
    prepare_database(store)
    options = {
        "--backend-store-uri": store.uri,
        "--artifacts-destination": str(store.artifacts),
        "--host": HOST,
        "--port": str(port),
        "--workers": "1",
        "--uvicorn-opts": "--log-level warning",
    }
    return [
        sys.executable,
        "-m",
        "mlflow",
        "server",
        *(w for pair in options.items() for w in pair),
    ]


def ui(root: Path, port: int = 5000) -> int:
    """Serve MLflow's interface until interrupted; returns its exit code.

    Raises:
        UserError: runs are recorded on a server elsewhere.
    """
    store = resolve_store(root)
    if store.database is None:
        raise UserError(
            f"{shown_uri(store.uri)}: runs are recorded there (MLFLOW_TRACKING_URI); "
            "open that address in a browser, or unset the variable to see this folder's runs"
        )
    chosen = free_port(port)
    command = server_command(store, chosen)
    if chosen != port:
        print(f"Port {port} is taken; using {chosen}.")
    address = f"http://{HOST}:{chosen}"
    environment = {**os.environ, **SERVER_SETTINGS}
    # MLflow's command starts the server as a process of its own: both must end with this one.
    process = subprocess.Popen(command, env=environment, cwd=root, start_new_session=True)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        if answers(address, process):
            print(f"MLflow: {address} (Ctrl-C ends it)")
            for name, view in _score_tables(store):
                print(f"  scores of {name}: {address}/{view}")
            sys.stdout.flush()
        return process.wait()
    except KeyboardInterrupt:
        return 0
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
        process.wait()


def answers(address: str, process: subprocess.Popen[bytes], seconds: float = 120.0) -> bool:
    """Wait until a server answers; False if its process ended or the time is over."""
    deadline = time.monotonic() + seconds
    while process.poll() is None and time.monotonic() < deadline:
        try:
            urllib.request.urlopen(f"{address}/health", timeout=5).close()
            return True
        except OSError:
            time.sleep(0.1)
    return False


def _score_tables(store: Store) -> list[tuple[str, str]]:
    """Name and view of every experiment that holds evaluations."""
    assert store.database is not None
    query = (
        "SELECT e.name, e.experiment_id FROM experiments e JOIN experiment_tags t "
        "ON t.experiment_id = e.experiment_id WHERE t.key = ? AND e.lifecycle_stage = 'active' "
        "ORDER BY e.name"
    )
    with contextlib.closing(sqlite3.connect(store.database, timeout=10)) as connection:
        rows = connection.execute(query, (TAG,)).fetchall()
    return [(name.removeprefix("weir/"), view_address(str(key))) for name, key in rows]
