"""Progress of long work: a bar on a terminal, a plain line now and then in a log."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from rich.progress import Progress as Bar


class Progress:
    """Shows how many steps are done, the loss if there is one, speed and the time left.

    Args:
        label: what is being done.
        total: steps of the whole.
        done: steps done before this process, which do not count for the speed.
        noun: what a step is called.
        interval: seconds between plain lines.
        stream: where to write; None writes nothing, as on all but the main process.
    """

    def __init__(
        self,
        label: str,
        total: int,
        done: int = 0,
        noun: str = "step",
        interval: float = 10.0,
        stream: TextIO | None = sys.stderr,
    ) -> None:
        self._label = label
        self._total = total
        self._noun = noun
        self._first = done
        self._stream = stream
        self._begin = time.monotonic()
        self._bar: Bar | None = None
        self._interval = interval
        self._due = self._begin + interval
        if stream is not None and stream.isatty():
            self._interval = 0.1
            self._due = self._begin
            self._open_bar(stream)

    def update(self, step: int, loss: float | None = None) -> None:
        """`step` steps are done; `loss` is the latest one known, if the work has one."""
        now = time.monotonic()
        if self._stream is None or now < self._due:
            return
        self._due = now + self._interval
        speed = (step - self._first) / max(now - self._begin, 1e-9)
        if self._bar is not None:
            rate = self._rate(loss, speed)
            self._bar.update(self._task, completed=step, rate=rate)
        else:
            self._line(step, loss, speed)

    def close(self) -> None:
        """Take the bar off the screen."""
        if self._bar is not None:
            self._bar.stop()

    def _rate(self, loss: float | None, speed: float) -> str:
        shown = "" if loss is None else f"loss {loss:.4g}, "
        return f"{shown}{speed:.3g} {self._noun}s/s"

    def _line(self, step: int, loss: float | None, speed: float) -> None:
        left = (self._total - step) / max(speed, 1e-9)
        minutes, seconds = divmod(round(left), 60)
        print(
            f"{self._label}: {self._noun} {step}/{self._total}, {self._rate(loss, speed)}, "
            f"{minutes}:{seconds:02d} left",
            file=self._stream,
            flush=True,
        )

    def _open_bar(self, stream: TextIO) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
        from rich.progress import Progress as Bar

        bar = Bar(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[rate]}"),
            TimeRemainingColumn(),
            console=Console(file=stream),
            transient=True,
        )
        self._bar = bar
        self._task = bar.add_task(self._label, total=self._total, completed=self._first, rate="")
        bar.start()
