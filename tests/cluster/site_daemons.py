"""Real servers of a site on loopback, each under its own account and ended by its own PID."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from site_commands import said
from site_members import Member

from weir.tracking.server import SERVER_SETTINGS, answers, free_port

HOST = "127.0.0.1"
BINARIES = ("/usr/sbin", "/usr/lib/postgresql/*/bin")
WAIT = 120.0


def program(name: str, package: str) -> str:
    """Path of a daemon, which is installed if this is root's Debian; else the test is skipped."""
    for attempt in range(2):
        found = shutil.which(name)
        for folder in BINARIES:
            found = found or next(map(str, sorted(Path("/").glob(f"{folder[1:]}/{name}"))), None)
        if found:
            return found
        if attempt == 0 and os.geteuid() == 0 and shutil.which("apt-get"):
            subprocess.run(
                ["apt-get", "install", "--yes", "--no-install-recommends", package],
                env={**os.environ, "DEBIAN_FRONTEND": "noninteractive", "RUNLEVEL": "1"},
                capture_output=True,
            )
    pytest.skip(f"needs {name}: apt-get install {package}")


@contextlib.contextmanager
def ssh_server(member: Member, folder: Path) -> Iterator[tuple[int, Path]]:
    """An OpenSSH server that lets one account in by key; gives its port and the key."""
    sshd = program("sshd", "openssh-server")
    keygen = program("ssh-keygen", "openssh-client")
    folder.mkdir()
    for name in ("host", "key"):
        command = [keygen, "-q", "-t", "ed25519", "-N", "", "-f", str(folder / name)]
        subprocess.run(command, check=True)
    shutil.copy(folder / "key.pub", folder / "authorized")
    port = free_port()
    settings = {
        "Port": port,
        "ListenAddress": HOST,
        "HostKey": folder / "host",
        "AuthorizedKeysFile": folder / "authorized",
        "PidFile": folder / "pid",
        "PasswordAuthentication": "no",
        "KbdInteractiveAuthentication": "no",
        "UsePAM": "no",
        "StrictModes": "no",
        "Subsystem": "sftp internal-sftp",
        "MaxStartups": "50",
    }
    (folder / "config").write_text("".join(f"{name} {v}\n" for name, v in settings.items()))
    member.owns(folder)
    (folder / "key").chmod(0o640)  # for the group; to OpenSSH's own client it would be too open
    process = subprocess.Popen(
        member.command(folder, sshd, "-D", "-e", "-f", str(folder / "config")),
        env=member.environment(folder),
        stderr=(folder / "log").open("wb"),
    )
    try:
        _wait_for(port, process, folder / "log")
        yield port, folder / "key"
    finally:
        process.terminate()
        process.wait()


@contextlib.contextmanager
def postgres(member: Member, folder: Path) -> Iterator[str]:
    """A PostgreSQL server; gives the URI of an empty database."""
    initdb = program("initdb", "postgresql")
    server = program("postgres", "postgresql")
    folder.mkdir(mode=0o700)
    member.owns(folder)
    options = ["--username=mlflow", "--auth=trust", "--encoding=UTF8", "--no-sync", "--locale=C"]
    member.run(folder, initdb, "--pgdata", str(folder / "data"), *options)
    port = free_port()
    settings = {
        "port": port,
        "listen_addresses": HOST,
        "unix_socket_directories": "",
        "fsync": "on",
    }
    flags = [word for name, v in settings.items() for word in ("-c", f"{name}={v}")]
    process = subprocess.Popen(
        member.command(folder, server, "-D", str(folder / "data"), *flags),
        env=member.environment(folder),
        stdout=subprocess.DEVNULL,
        stderr=(folder / "log").open("wb"),
    )
    try:
        _wait_for(port, process, folder / "log")
        yield f"postgresql+pg8000://mlflow@{HOST}:{port}/postgres"
    finally:
        process.send_signal(signal.SIGINT)  # "fast" shutdown
        process.wait()


def _wait_for(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + WAIT
    while time.monotonic() < deadline:
        assert process.poll() is None, log.read_text()
        with contextlib.suppress(OSError), socket.create_connection((HOST, port), timeout=1):
            return
        time.sleep(0.05)
    raise AssertionError(f"nobody listens on {port}: {log.read_text()}")


class TrackingServer:
    """An MLflow server over any database, which can be killed and started again."""

    def __init__(self, folder: Path, database: str) -> None:
        self.folder, self.database, self.port = folder, database, free_port()
        self.uri = f"http://{HOST}:{self.port}"
        self._process: subprocess.Popen[bytes] | None = None
        folder.mkdir(exist_ok=True)

    def command(self) -> list[str]:
        """The command of docs/site.md."""
        kind = self.database.partition("+")[0].partition(":")[0]
        places = {
            "sqlite" if kind == "sqlite" else "postgres": self.database,
            "artifacts": self.folder / "artifacts",
            "port": f"--port {self.port}",
        }
        return said(f"mlflow server --backend-store-uri {kind}", **places).split()

    def start(self) -> None:
        """Start, and wait until it answers."""
        self._process = subprocess.Popen(
            [sys.executable, "-m", *self.command()],
            cwd=self.folder,
            env={**os.environ, **SERVER_SETTINGS},
            stdout=subprocess.DEVNULL,
            stderr=(self.folder / "server.log").open("ab"),
            start_new_session=True,
        )
        assert answers(self.uri, self._process, 240), (self.folder / "server.log").read_text()[
            -2000:
        ]

    def kill(self) -> None:
        """kill -9 the server and its workers."""
        if self._process is not None:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
            self._process = None
