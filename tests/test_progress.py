"""What is shown while training."""

from __future__ import annotations

import io
import re

from weir.progress import Progress


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


def test_a_log_gets_plain_lines_now_and_then() -> None:
    stream = io.StringIO()
    progress = Progress("stage1/toy", 1000, done=100, interval=0.0, stream=stream)
    progress.update(200, 0.25)
    progress.close()
    line = r"stage1/toy: step 200/1000, loss 0\.25, \S+ steps/s, \d+:\d\d left\n"
    assert re.fullmatch(line, stream.getvalue())
    quiet = io.StringIO()
    progress = Progress("stage1/toy", 1000, interval=60.0, stream=quiet)
    for step in range(100):
        progress.update(step, 0.25)
    assert quiet.getvalue() == ""


def test_a_terminal_gets_a_bar() -> None:
    stream = Terminal()
    progress = Progress("stage1/toy", 1000, stream=stream)
    progress.update(250, 0.125)
    progress.close()
    shown = stream.getvalue()
    assert "stage1/toy" in shown
    assert "250/1000" in shown.replace(" ", "")
    assert "0.125" in shown


def test_without_a_stream_nothing_happens() -> None:
    progress = Progress("stage1/toy", 10, stream=None)
    progress.update(5, 1.0)
    progress.close()
