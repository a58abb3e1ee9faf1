"""A process that has imported what jobs import, and forks itself for each of them.

Torch, pandas, SciPy and DVC take a job seconds to import, often longer than its work. So a local
`snakemake` with several jobs to run keeps one such process beside it. A job's process asks it
for a fork, hands over its arguments, environment and open files, and waits (`warm`). Modules of
Weir are not kept: a fork imports them again, and so sees an edit as a fresh process does.

The server itself starts no thread and does not touch the GPU, so that to fork it is safe. It ends
when the process that started it has ended or closed its end of the pipe, and no job is left.

    python -P -m weir.engines.fork.server SOCKET < PIPE
"""

from __future__ import annotations

import atexit
import contextlib
import ctypes
import gc
import os
import random
import selectors
import shutil
import signal
import socket
import sys
import threading
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, NoReturn

from weir.engines.fork.client import PROGRAMS, import_time_part, receive

MODULES = (
    "torch",
    "pandas",
    "pyarrow.parquet",
    "scipy.stats",
    "scipy.sparse",
    "scipy.optimize",
    "anndata",
    "sklearn.neural_network",
    "sklearn.model_selection",
    "safetensors.torch",
    "pydantic",
    "dvc.cli",
    "dvc.commands.repro",
    "dvc.repo",
)
"""What jobs import, from other packages; one that is missing here is left to the job."""
ON_CPU = ("lightning_fabric",)
"""Might ask the driver which GPUs there are, after which a fork could not use them."""
HARMLESS_THREADS = ("jemalloc_bg_thd",)
"""Threads of libraries that look after forks themselves."""
_PR_SET_PDEATHSIG = 1


@dataclass
class _Running:
    """A fork at work, and the process that waits for it."""

    pid: int
    waiting: socket.socket


def main(address: str) -> int:
    """Serve until nobody can ask any more."""
    own = os.getpid()
    environment = import_time_part(os.environ)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # they are for the jobs
    try:
        _load()
        if not _single_threaded():
            return 1
        with socket.socket(socket.AF_UNIX) as listener:
            # Who finds the socket finds it listening.
            listener.bind(f"{address}.new")
            listener.listen(128)
            os.rename(f"{address}.new", address)
            program = _serve(listener, environment)
        if program:
            _end(program)
        return 0
    finally:
        if os.getpid() == own:
            shutil.rmtree(Path(address).parent, ignore_errors=True)


def _load() -> None:
    """Import what jobs import."""
    gpus = any(Path("/dev").glob("nvidia[0-9]*"))
    for name in MODULES if gpus else MODULES + ON_CPU:
        with contextlib.suppress(ImportError):
            import_module(name)
    with contextlib.suppress(ImportError):
        import_module("colorama").deinit()  # DVC has put it before stdout
    # What is there now is never freed: to look at it in each fork would copy its memory.
    gc.collect()
    gc.freeze()


def _serve(listener: socket.socket, environment: dict[str, str]) -> Callable[[], int] | None:
    """Answer until the end; returns twice for each job, and in the fork its program."""
    running: dict[int, _Running] = {}
    with selectors.DefaultSelector() as selector:
        selector.register(listener, selectors.EVENT_READ, "ask")
        selector.register(sys.stdin, selectors.EVENT_READ, "end")
        asking = True
        while asking or running:
            for key, _ in selector.select():
                if key.data == "end":
                    selector.unregister(sys.stdin)
                    asking = False
                elif key.data == "ask":
                    connection, _ = listener.accept()
                    program = _fork(connection, environment, running, selector)
                    if program:
                        selector.close()
                        return program
                elif isinstance(key.data, _Running):
                    _reap(key.fd, running, selector)
                elif any(job.pid == key.data for job in running.values()):
                    # Who waited is gone, killed: so is its job, if it has not just been reaped.
                    os.kill(key.data, signal.SIGKILL)
                    selector.unregister(key.fileobj)
    return None


def _fork(
    connection: socket.socket,
    environment: dict[str, str],
    running: dict[int, _Running],
    selector: selectors.BaseSelector,
) -> Callable[[], int] | None:
    """Fork for a request; in the fork, what to run."""
    connection.settimeout(10)
    handles: list[int] = []
    try:
        request, handles = receive(connection)
        if import_time_part(request["environment"]) != environment or request["weir"] != _weir():
            connection.close()  # who asked runs by itself
            return None
        connection.settimeout(None)
        pid = os.fork()
        if pid == 0:
            connection.close()
            for other, job in running.items():
                os.close(other)
                job.waiting.close()
            try:
                _take_over_process(request, handles)
            except BaseException:  # caught below, it would go on as a second server
                traceback.print_exc()
                os._exit(1)
            return lambda: _run(request["program"], request["arguments"])
        watch = os.pidfd_open(pid)
        running[watch] = _Running(pid, connection)
        selector.register(watch, selectors.EVENT_READ, running[watch])
        selector.register(connection, selectors.EVENT_READ, pid)
        with contextlib.suppress(OSError):
            connection.sendall(f"{pid}\n".encode())
    except (OSError, ValueError, KeyError):
        connection.close()
    finally:
        for handle in handles:
            with contextlib.suppress(OSError):
                os.close(handle)
    return None


def _reap(watch: int, running: dict[int, _Running], selector: selectors.BaseSelector) -> None:
    job = running.pop(watch)
    selector.unregister(watch)
    os.close(watch)
    code = os.waitstatus_to_exitcode(os.waitpid(job.pid, 0)[1])
    with contextlib.suppress(KeyError, ValueError):
        selector.unregister(job.waiting)
    with contextlib.suppress(OSError):
        job.waiting.sendall(f"{code}\n".encode())
    job.waiting.close()


def _take_over_process(request: dict[str, Any], handles: list[int]) -> None:
    """Take on what a process started by the one that asks would have from it."""
    # Where the server is killed, a job must not go on unseen.
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    with contextlib.suppress(OSError):
        os.setpgid(0, request["group"])
    for number, handle in enumerate(handles):
        os.dup2(handle, number)
    os.chdir(request["folder"])
    os.umask(request["umask"])
    os.environ.clear()
    os.environ.update(request["environment"])
    for number in (signal.SIGTERM, signal.SIGUSR1, signal.SIGHUP):
        ignored = number in request["ignored"]
        signal.signal(number, signal.SIG_IGN if ignored else signal.SIG_DFL)
    ignored = signal.SIGINT in request["ignored"]
    signal.signal(signal.SIGINT, signal.SIG_IGN if ignored else signal.default_int_handler)
    sys.stdout.reconfigure(line_buffering=os.isatty(1))  # type: ignore[union-attr]
    sys.argv = [request["program"], *request["arguments"]]
    random.seed()
    for name in [name for name in sys.modules if name == "weir" or name.startswith("weir.")]:
        del sys.modules[name]


def _run(program: str, arguments: list[str]) -> int:
    module, function = PROGRAMS[program]
    return getattr(import_module(module), function)(arguments)


def _end(program: Callable[[], int]) -> NoReturn:
    """Run a fork's program and end as Python does, but without taking all modules apart.

    That takes two seconds, since each page of memory that is touched has to be copied.
    """
    try:
        code = program()
    except SystemExit as request:
        known = request.code is None or isinstance(request.code, int)
        code = int(request.code or 0) if known else 1
        if not known:
            print(request.code, file=sys.stderr)
    except BaseException:
        traceback.print_exc()
        code = 1
    try:
        threading._shutdown()  # type: ignore[attr-defined]
        atexit._run_exitfuncs()
        sys.stdout.flush()
        sys.stderr.flush()
    except BaseException:
        traceback.print_exc()
        code = code or 1
    finally:
        os._exit(code)


def _weir() -> str:
    import weir

    return str(weir.__file__)


def _single_threaded() -> bool:
    names = [path.read_text().strip() for path in Path("/proc/self/task").glob("*/comm")]
    return len([name for name in names if name not in HARMLESS_THREADS]) == 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
