"""The journal of a run: events as JSON lines on disk, and how many of them MLflow has confirmed.

.weir/spool/<label>-<token>/
    events.jsonl    appended by the owner (the stage), one event a line
    ack.json        written by the shipper: offset confirmed, MLflow's ids, the last problem
    owner.lock      held while the owner lives
    files/          copies of artifacts that wait to be sent
"""

from __future__ import annotations

import json
import math
import os
import threading
import time
from collections import deque
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

EVENTS, ACK, OWNER = "events.jsonl", "ack.json", "owner.lock"
QUEUE_SECONDS = 0.5
_ENCODE = json.JSONEncoder(separators=(",", ":"), allow_nan=False).encode


def spool_folder(root: Path) -> Path:
    """Where the journals of a repository lie."""
    return root / ".weir" / "spool"


@dataclass
class Ack:
    """What the server has confirmed of a journal.

    Attributes:
        offset: bytes of `events.jsonl` that need not be sent again.
        uri: tracking server that confirmed them.
        run_id: MLflow's id of the run.
        attempted: a run may have been created although no answer came.
        parents: of an invocation: id of its parent run by experiment.
        failed: of an invocation: a stage of it failed.
        problem: why nothing more could be sent, in one line; empty if all is well.
        rejected: events that the server refused for good.
    """

    offset: int = 0
    uri: str = ""
    run_id: str | None = None
    attempted: bool = False
    parents: dict[str, str] = field(default_factory=dict)
    failed: bool = False
    problem: str = ""
    rejected: int = 0

    @staticmethod
    def read(folder: Path) -> Ack:
        """The acknowledgement of a journal; empty if none was written yet."""
        try:
            return Ack(**json.loads((folder / ACK).read_text(encoding="utf-8")))
        except FileNotFoundError:
            return Ack()

    def write(self, folder: Path) -> None:
        """Replace the acknowledgement in one step."""
        temporary = folder / f"{ACK}.{os.getpid()}"
        temporary.write_text(json.dumps(asdict(self)), encoding="utf-8")
        temporary.replace(folder / ACK)


class Journal:
    """Writing end of a journal. What is on disk survives the death of the process.

    Most events are written at once. Scores come at every step of a loop that should not wait, so
    `append_later` only queues them, and a thread writes the queue half a second later.
    """

    def __init__(self, folder: Path, *, owned: bool = True) -> None:
        """Open a journal for appending, creating its folder.

        Args:
            owned: hold the owner's lock, so that the shipper sees when this process dies.
        """
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self._lock = FileLock(folder / OWNER, thread_local=False)
        if owned:
            self._lock.acquire(timeout=10)
        self._file = os.open(folder / EVENTS, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        self._queue: deque[dict[str, Any]] = deque()
        self._writing = threading.Lock()
        self._queued = threading.Event()
        self._thread: threading.Thread | None = None
        self._failure: Exception | None = None

    def append(self, kind: str, **fields: Any) -> None:
        """Write one event, and those queued before it.

        Raises:
            OSError: it cannot be written.
            ValueError, TypeError: JSON cannot hold it.
        """
        line = _line({"kind": kind, **fields})
        self._write_queue()
        self._write(line)

    def append_later(self, kind: str, **fields: Any) -> None:
        """Queue one event.

        Raises:
            Exception: what kept an earlier one from being written.
        """
        self._queue.append({"kind": kind, **fields})
        if not self._queued.is_set():
            self._queued.set()
            if self._thread is None:
                self._thread = threading.Thread(target=self._write_at_intervals, daemon=True)
                self._thread.start()
        if self._failure is not None:
            failure, self._failure = self._failure, None
            raise failure

    def close(self) -> None:
        """Write what is queued, and let go of the file and of the owner's lock."""
        if self._file >= 0:
            self._write_queue()
            with self._writing:
                os.close(self._file)
                self._file = -1
            self._queued.set()
        self._lock.release()

    def _write_at_intervals(self) -> None:
        while self._file >= 0:
            self._queued.wait()
            time.sleep(QUEUE_SECONDS)
            self._queued.clear()
            try:
                self._write_queue()
            except Exception as error:  # told to whoever appends next
                self._failure = error

    def _write_queue(self) -> None:
        lines = []
        while self._queue:
            lines.append(_line(self._queue.popleft()))
        if lines:
            self._write(b"".join(lines))

    def _write(self, data: bytes) -> None:
        with self._writing:
            if self._file < 0:
                return
            written = os.write(self._file, data)
            if written != len(data):
                os.write(self._file, b"\n")
                raise OSError(f"{self.folder / EVENTS}: only part of an event was written")


def _line(event: dict[str, Any]) -> bytes:
    try:
        text = _ENCODE(event)
    except ValueError:
        if "values" not in event:
            raise
        values = {name: encode_number(value) for name, value in event["values"].items()}
        text = _ENCODE({**event, "values": values})
    return (text + "\n").encode()


def encode_number(value: float) -> float | str:
    """A number that JSON can hold: NaN and infinities as their names."""
    number = float(value)
    return number if math.isfinite(number) else repr(number)


def owner_lives(folder: Path) -> bool:
    """Whether the process that writes a journal still holds its lock."""
    if not (folder / OWNER).exists():
        return False
    lock = FileLock(folder / OWNER)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        return True
    lock.release()
    return False


def read_events(folder: Path, offset: int) -> Iterator[tuple[dict[str, Any] | None, int]]:
    """Whole events from a byte offset on, each with the offset behind it.

    A last line without its end is left for later; a line that was cut by the owner's death comes
    as None.
    """
    with (folder / EVENTS).open("rb") as file:
        file.seek(offset)
        for line in file:
            if not line.endswith(b"\n"):
                return
            offset += len(line)
            try:
                event = json.loads(line)
            except ValueError:
                event = None
            yield (event if isinstance(event, dict) else None), offset


def first_event(folder: Path) -> dict[str, Any] | None:
    """The event that opens a journal, if it is whole."""
    try:
        return next(read_events(folder, 0), (None, 0))[0]
    except FileNotFoundError:
        return None
