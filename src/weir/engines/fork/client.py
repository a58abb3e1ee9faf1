"""Client of the fork server: a job as a fork of a process that has imported everything already.

A job in a fork has the arguments, environment, folder, open files and signals of the process that
asked for it, which waits, passes signals on and ends as the fork does: to Snakemake and DVC it is
the job. Where anything is amiss it runs by itself, only slower: on a cluster, outside Snakemake,
with several GPUs, with another Python environment, or with WEIR_WARM=off.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Mapping

VARIABLE = "WEIR_WARM"
"""Address of the server; `off` if there shall be none."""
PROGRAMS = {"weir": ("weir.cli", "main"), "dvc": ("weir.engines.dvc.repro", "run")}
"""What can be asked for: module and function of each program."""
IMPORT_TIME_VARIABLES = (
    "PYTHON",
    "LD_",
    "OMP_",
    "GOTO_",
    "OPENBLAS_",
    "MKL_",
    "KMP_",
    "VECLIB_",
    "NUMEXPR_",
    "TORCH",
    "PYTORCH",
    "CUDA",
    "NVIDIA",
    "ARROW",
    "SKLEARN",
    "LC_",
    "LANG",
    "MALLOC",
)
"""Beginnings of variables that libraries read when they are imported: these must be equal."""
THREADS = ("OMP", "GOTO", "OPENBLAS", "MKL", "NUMEXPR")
_FORWARDED = (signal.SIGTERM, signal.SIGUSR1, signal.SIGHUP, signal.SIGINT)


def import_time_part(environment: Mapping[str, str]) -> dict[str, str]:
    """The part of an environment that cannot be changed after libraries are imported."""
    return {
        name: value for name, value in environment.items() if name.startswith(IMPORT_TIME_VARIABLES)
    }


def start(threads: int = 1) -> subprocess.Popen[bytes] | None:
    """Start a server, which is ready after some seconds; None if there can or shall be none.

    It ends after `stop`, or with this process.

    Args:
        threads: what Snakemake gives to each job, and says in its environment.
    """
    import subprocess
    import tempfile

    if os.environ.get(VARIABLE) or not hasattr(os, "pidfd_open"):
        return None
    if len(tempfile.gettempdir()) > 70:  # the system allows 108 bytes for the socket's name
        return None
    address = os.path.join(tempfile.mkdtemp(prefix="weir-"), "warm")
    counts = {f"{name}_NUM_THREADS": str(threads) for name in THREADS}
    process = subprocess.Popen(
        [sys.executable, "-P", "-m", "weir.engines.fork.server", address],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env={**os.environ, **counts, "VECLIB_MAXIMUM_THREADS": str(threads)},
    )
    os.environ[VARIABLE] = address
    return process


def stop(process: subprocess.Popen[bytes] | None) -> None:
    """Let a server end as soon as its jobs have."""
    if process is not None and process.stdin is not None:
        process.stdin.close()
        os.environ.pop(VARIABLE, None)


def run_warm(program: str, arguments: list[str]) -> int | None:
    """Exit code of a program that ran in a fork; None if it has to be run here.

    Args:
        program: one of `PROGRAMS`.
    """
    address = os.environ.get(VARIABLE, "off")
    several = any(os.environ.get(name, "1") != "1" for name in ("WEIR_DEVICES", "WEIR_NODES"))
    if address == "off" or several:
        return None
    with socket.socket(socket.AF_UNIX) as server:
        try:
            server.connect(address)
            _ask(server, program, arguments)
            answers = server.makefile()
            pid = int(answers.readline())
        except (OSError, ValueError):
            return None
        _forward_signals(pid)
        answer = answers.readline()
    if not answer:
        print("weir: the process that served this job has ended; run it again", file=sys.stderr)
        return 1
    code = int(answer)
    if code < 0:
        with contextlib.suppress(OSError):  # SIGKILL has no handler
            signal.signal(-code, signal.SIG_DFL)
        os.kill(os.getpid(), -code)
    return code


def receive(connection: socket.socket) -> tuple[dict[str, Any], list[int]]:
    """A request and the files that come with it.

    Raises:
        OSError, ValueError: it is not whole.
    """
    head, handles, _, _ = socket.recv_fds(connection, 8, 3)
    for handle in handles:
        os.set_inheritable(handle, False)
    text = b""
    while len(text) < int(head, 16):
        part = connection.recv(1 << 16)
        if not part:
            break
        text += part
    return json.loads(text), list(handles)


def _ask(server: socket.socket, program: str, arguments: list[str]) -> None:
    import weir

    mask = os.umask(0)
    os.umask(mask)
    request = {
        "program": program,
        "arguments": arguments,
        "weir": weir.__file__,
        "environment": dict(os.environ),
        "folder": os.getcwd(),
        "umask": mask,
        "group": os.getpgid(0),
        "ignored": [n for n in _FORWARDED if signal.getsignal(n) == signal.SIG_IGN],
    }
    text = json.dumps(request).encode()
    socket.send_fds(server, [f"{len(text):08x}".encode()], [0, 1, 2])
    server.sendall(text)


def _forward_signals(pid: int) -> None:
    """Pass signals on, but for a Ctrl-C that the whole group of processes has got."""

    def forward(number: int, frame: object) -> None:
        with contextlib.suppress(ProcessLookupError):
            if number != signal.SIGINT or os.getpgid(pid) != os.getpgid(0):
                os.kill(pid, number)

    for number in _FORWARDED:
        signal.signal(number, forward)
