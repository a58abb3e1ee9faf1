"""Signals that ask a process to stop, and what it leaves: an exit code that says requeue.

A training saves itself; any other work is given up, and what it had half-written is removed.
"""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType, TracebackType
from typing import Any

from weir.errors import WeirError

TRY_AGAIN = 75
"""Exit code `EX_TEMPFAIL` of sysexits.h: "try again later"."""

AGAIN_SECONDS = 0.2
"""After which `Stopped` is raised again, if it was lost."""


class Interrupted(WeirError):
    """The training was asked to stop and has saved itself; running it again resumes it."""

    exit_code = TRY_AGAIN


class Stopped(BaseException):
    """The process was asked to stop while it had nothing to save.

    As of KeyboardInterrupt, of this nothing is meant to recover but the end of the program.
    """


@contextmanager
def stop_on_signals() -> Iterator[None]:
    """Inside, SIGTERM, SIGUSR1 (Slurm's warning) and SIGHUP raise `Stopped`, wherever they come.

    So contexts are left in order, and what is half-written goes. Signals that are ignored are
    obeyed, too, since a rule's shell ignores them for its own sake; but for SIGHUP, which `nohup`
    has ignored on purpose. Outside the main thread Python cannot take over signals; there nothing
    is changed.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    name = ""

    def stop(number: int, frame: FrameType | None) -> None:
        nonlocal name
        name = name or signal.Signals(number).name
        # What is raised in a callback of the garbage collector is lost: so it is raised again, but
        # not while it is on its way and contexts are being left.
        signal.setitimer(signal.ITIMER_REAL, AGAIN_SECONDS)
        if not _is_on_its_way(sys.exception()):
            raise Stopped(name)

    watched = [signal.SIGTERM, signal.SIGUSR1]
    if signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:
        watched.append(signal.SIGHUP)
    previous = {number: signal.signal(number, stop) for number in (*watched, signal.SIGALRM)}
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        for number, handler in previous.items():
            # None: a handler that was not set from Python, which cannot be put back from here.
            signal.signal(number, signal.SIG_DFL if handler is None else handler)


def _is_on_its_way(error: BaseException | None) -> bool:
    """Whether an exception is `Stopped`, or was raised while that was handled."""
    while error is not None:
        if isinstance(error, Stopped):
            return True
        error = error.__context__
    return False


class StopSignals:
    """Inside, SIGTERM, SIGUSR1 (Slurm's warning) and SIGINT (Ctrl-C) are noted, not obeyed.

    A second SIGINT is obeyed at once. Outside the main thread Python cannot take over signals;
    there nothing is changed.

    Attributes:
        received: name of the first signal noted, None before.
    """

    watched = (signal.SIGTERM, signal.SIGUSR1, signal.SIGINT)

    def __init__(self) -> None:
        self.received: str | None = None
        self._previous: dict[signal.Signals, Any] = {}

    def __enter__(self) -> StopSignals:
        if threading.current_thread() is threading.main_thread():
            for number in self.watched:
                self._previous[number] = signal.signal(number, self._note)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for number, previous in self._previous.items():
            # None: a handler that was not set from Python, which cannot be put back from here.
            signal.signal(number, signal.SIG_DFL if previous is None else previous)

    def _note(self, number: int, frame: FrameType | None) -> None:
        if number == signal.SIGINT and self.received is not None:
            raise KeyboardInterrupt
        self.received = self.received or signal.Signals(number).name
