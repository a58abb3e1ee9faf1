"""A real MLflow server on loopback, started once, and a repository root per test."""

import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from weir.tracking.server import SERVER_SETTINGS, answers, free_port, server_command
from weir.tracking.store import MLFLOW_SETTINGS, resolve_store


class Server:
    """An MLflow server that can be killed and started again on the same port and database."""

    def __init__(self, root: Path) -> None:
        self.root, self.port = root, free_port()
        self.store = resolve_store(root, f"sqlite:///{root}/mlflow.db")
        self.uri = f"http://127.0.0.1:{self.port}"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start, and wait until it answers."""
        self._process = subprocess.Popen(
            server_command(self.store, self.port),
            cwd=self.root,
            env={**os.environ, **SERVER_SETTINGS},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        assert answers(self.uri, self._process)

    def kill(self) -> None:
        """kill -9 the server and its workers."""
        if self._process is not None:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
            self._process = None


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """The server of the session; a test that kills it starts it again."""
    patch = pytest.MonkeyPatch()
    for name, value in MLFLOW_SETTINGS.items():
        patch.setenv(name, value)
    patch.delenv("MLFLOW_TRACKING_URI", raising=False)
    server = Server(tmp_path_factory.mktemp("server"))
    server.start()
    yield server
    server.kill()
    patch.undo()


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty repository whose runs stay in the spool until a test ships them."""
    monkeypatch.setenv("WEIR_TRACKING", "spool")
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.delenv("WEIR_PARENT_RUN", raising=False)
    return tmp_path
