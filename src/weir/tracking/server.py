"""`weir ui`: MLflow's web interface on this machine."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
from pathlib import Path

from weir.errors import UserError
from weir.tracking.store import MLFLOW_SETTINGS, Store, prepare_database, resolve_store

HOST = "127.0.0.1"
SERVER_SETTINGS = {**MLFLOW_SETTINGS, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
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
    print(f"MLflow: http://{HOST}:{chosen} (Ctrl-C ends it)", flush=True)
    environment = {**os.environ, **SERVER_SETTINGS}
    try:
        return subprocess.run(command, env=environment, cwd=root, check=False).returncode
    except KeyboardInterrupt:
        return 0
