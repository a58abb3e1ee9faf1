"""A job in a fork behaves as one in a process of its own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from weir.engines.fork.client import IMPORT_TIME_VARIABLES, VARIABLE

pytestmark = pytest.mark.skipif(not hasattr(os, "pidfd_open"), reason="Linux only")

SERVER = """
import sys
from weir.engines.fork import server
server.MODULES = server.ON_CPU = ()
server.PROGRAMS["job"] = ("job", "main")
sys.exit(server.main(sys.argv[1]))
"""
JOB = """
import os, sys, time
def main(words):
    print(os.getppid(), os.getcwd(), os.environ.get("MARK"), sys.argv, flush=True)
    match words[0]:
        case "exit": return int(words[1])
        case "raise": raise ValueError("said")
        case "die": os.kill(os.getpid(), 9)
        case "sleep": time.sleep(60)
    return 0
"""
CLIENT = """
import sys
from weir.engines.fork.client import run_warm
code = run_warm("job", sys.argv[1:])
sys.exit(99 if code is None else code)
"""


class Server:
    """A server without the imports that take it seconds, and processes that ask it."""

    def __init__(self, folder: Path) -> None:
        folder.joinpath("job.py").write_text(JOB)
        self.folder, self.address = folder, folder / "socket" / "warm"
        self.address.parent.mkdir()
        self.environment = {**os.environ, "PYTHONPATH": os.pathsep.join([*sys.path, str(folder)])}
        self.process = self.popen(SERVER, str(self.address), stdin=subprocess.PIPE)
        deadline = time.monotonic() + 60
        while not self.address.exists() and time.monotonic() < deadline:
            time.sleep(0.02)

    def popen(self, code: str, *words: str, **options: object) -> subprocess.Popen[str]:
        command = [sys.executable, "-c", code, *words]
        return subprocess.Popen(command, text=True, **{"env": self.environment, **options})

    def ask(self, *words: str, **environment: str) -> subprocess.Popen[str]:
        given = {**self.environment, VARIABLE: str(self.address), **environment}
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        return self.popen(CLIENT, *words, env=given, cwd=self.folder, **pipes)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    given = Server(tmp_path)
    yield given
    assert given.process.stdin is not None
    given.process.stdin.close()
    assert given.process.wait(60) == 0
    assert not given.address.parent.exists()


def test_a_fork_has_what_the_process_has_and_ends_as_it(server: Server) -> None:
    client = server.ask("exit", "7", MARK="here")
    said, _ = client.communicate(timeout=60)
    assert client.returncode == 7
    words = f"{server.process.pid} {server.folder} here ['job', 'exit', '7']"
    assert said.strip() == words
    failed = server.ask("raise")
    assert "ValueError: said" in failed.communicate(timeout=60)[1]
    assert failed.returncode == 1
    killed = server.ask("die")
    assert killed.wait(60) == -signal.SIGKILL


def test_signals_are_passed_on_and_no_fork_is_left(server: Server) -> None:
    for number in (signal.SIGTERM, signal.SIGKILL):
        client = server.ask("sleep")
        assert client.stdout is not None
        client.stdout.readline()
        client.send_signal(number)
        assert client.wait(60) == -number  # and the server ends, so no fork is at work


def test_a_fork_and_who_waits_may_be_killed_at_once(server: Server) -> None:
    client = server.ask("sleep")
    assert client.stdout is not None
    client.stdout.readline()
    pid = server.process.pid
    (fork,) = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    os.kill(pid, signal.SIGSTOP)  # so that it learns of both in one round
    try:
        os.kill(int(fork), signal.SIGKILL)
        client.kill()
        client.wait(60)
    finally:
        os.kill(pid, signal.SIGCONT)
    assert server.ask("exit", "7").wait(60) == 7


def test_a_fork_that_cannot_begin_is_no_second_server(server: Server) -> None:
    code = "import os\nos.getcwd = lambda: '/none/such'" + CLIENT
    given = {**server.environment, VARIABLE: str(server.address)}
    client = server.popen(code, "exit", "7", env=given, stderr=subprocess.PIPE)
    assert "/none/such" in client.communicate(timeout=60)[1]
    assert client.returncode == 1
    assert server.ask("exit", "7").wait(60) == 7


def test_what_differs_runs_by_itself(server: Server) -> None:
    for environment in (
        {f"{IMPORT_TIME_VARIABLES[0]}X": "1"},
        {"WEIR_DEVICES": "2"},
        {VARIABLE: "/none"},
    ):
        assert server.ask("exit", "7", **environment).wait(60) == 99
