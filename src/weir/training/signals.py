"""Signals that ask a training to stop: it saves, and leaves with an exit code that says requeue."""

from __future__ import annotations

import signal
import threading
from types import FrameType, TracebackType
from typing import Any

from weir.errors import WeirError


class Interrupted(WeirError):
    """The training was asked to stop and has saved itself; running it again resumes it.

    The exit code is `EX_TEMPFAIL` of sysexits.h: "try again later".
    """

    exit_code = 75


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
