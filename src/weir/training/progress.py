"""How far a training is: a bar on a terminal, a plain line now and then in a log."""

from __future__ import annotations

import sys
import time
from typing import TextIO


class Progress:
    """Shows step, loss, speed and the time left, on standard error.

    Args:
        label: what is being trained.
        total: steps of the whole training.
        done: steps done before this process, which do not count for the speed.
        interval: seconds between plain lines.
        stream: where to write; None writes nothing, as on all but the main process.
    """

    def __init__(
        self,
        label: str,
        total: int,
        done: int = 0,
        interval: float = 10.0,
        stream: TextIO | None = sys.stderr,
    ) -> None:
        self._label = label
        self._total = total
        self._first = done
        self._stream = stream
        self._begin = time.monotonic()
        self._bar = None
        self._interval = interval
        self._due = self._begin + interval
        if stream is not None and stream.isatty():
            self._interval = 0.1
            self._due = self._begin
            self._open_bar(stream)

    def update(self, step: int, loss: float) -> None:
        """`step` steps are done; `loss` is the latest one known."""
        now = time.monotonic()
        if self._stream is None or now < self._due:
            return
        self._due = now + self._interval
        speed = (step - self._first) / max(now - self._begin, 1e-9)
        if self._bar is not None:
            self._bar.update(self._task, completed=step, loss=loss, speed=speed)
        else:
            self._line(step, loss, speed)

    def close(self) -> None:
        """Take the bar off the screen."""
        if self._bar is not None:
            self._bar.stop()

    def _line(self, step: int, loss: float, speed: float) -> None:
        left = (self._total - step) / max(speed, 1e-9)
        minutes, seconds = divmod(round(left), 60)
        print(
            f"{self._label}: step {step}/{self._total}, loss {loss:.4g}, {speed:.3g} steps/s, "
            f"{minutes}:{seconds:02d} left",
            file=self._stream,
            flush=True,
        )

    def _open_bar(self, stream: TextIO) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
        from rich.progress import Progress as Bar

        self._bar = Bar(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("loss {task.fields[loss]:.4g}  {task.fields[speed]:.3g} steps/s"),
            TimeRemainingColumn(),
            console=Console(file=stream),
            transient=True,
        )
        self._task = self._bar.add_task(
            self._label, total=self._total, completed=self._first, loss=float("nan"), speed=0.0
        )
        self._bar.start()
