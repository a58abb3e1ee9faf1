"""The journal keeps what was appended, whatever happens to its writer."""

import json
import math
import multiprocessing
import os
import signal
import time
from multiprocessing.connection import Connection
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from weir.tracking.journal import (
    EVENTS,
    QUEUE_SECONDS,
    Ack,
    Journal,
    encode_number,
    first_event,
    owner_lives,
    read_events,
)


def events(folder: Path, offset: int = 0) -> list[dict | None]:
    return [event for event, _ in read_events(folder, offset)]


def test_events_come_back_in_order_and_from_any_offset(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "run")
    for step in range(5):
        journal.append("metrics", step=step)
    offsets = [offset for _, offset in read_events(journal.folder, 0)]
    assert [e["step"] for e in events(journal.folder)] == [0, 1, 2, 3, 4]
    assert [e["step"] for e in events(journal.folder, offsets[2])] == [3, 4]
    assert first_event(journal.folder) == {"kind": "metrics", "step": 0}
    journal.close()


def test_a_line_without_its_end_waits_and_a_cut_one_is_none(tmp_path: Path) -> None:
    (tmp_path / EVENTS).write_bytes(b'{"kind":"run"}\n{"kind":"met')
    assert events(tmp_path) == [{"kind": "run"}]
    with (tmp_path / EVENTS).open("ab") as file:
        file.write(b'\n{"kind":"end"}\n')
    assert events(tmp_path) == [{"kind": "run"}, None, {"kind": "end"}]


@given(st.floats(allow_nan=True, allow_infinity=True))
def test_every_number_survives(value: float) -> None:
    back = float(json.loads(json.dumps(encode_number(value), allow_nan=False)))
    assert back == value or (back != back and value != value)


def _hold(folder: Path, ready: Connection) -> None:
    journal = Journal(folder)
    journal.append("run")
    ready.send(True)
    signal.pause()


def test_the_owner_is_seen_alive_until_it_is_killed(tmp_path: Path) -> None:
    here, there = multiprocessing.Pipe()
    process = multiprocessing.get_context("fork").Process(
        target=_hold, args=(tmp_path / "run", there)
    )
    process.start()
    assert here.poll(10)
    assert owner_lives(tmp_path / "run")
    assert process.pid is not None
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    assert not owner_lives(tmp_path / "run")
    assert events(tmp_path / "run") == [{"kind": "run"}]


def test_a_journal_has_one_owner(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "run")
    assert owner_lives(journal.folder)
    journal.close()
    assert not owner_lives(journal.folder)


def test_the_acknowledgement_comes_back(tmp_path: Path) -> None:
    assert Ack.read(tmp_path) == Ack()
    ack = Ack(offset=7, uri="http://a", run_id="r", parents={"1": "p"}, problem="gone")
    ack.write(tmp_path)
    assert Ack.read(tmp_path) == ack


def test_queued_events_keep_their_place_and_are_written_soon(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "run")
    for step in range(3):
        journal.append_later("metrics", step=step, values={"loss": math.nan})
    journal.append("tags", step=3)
    journal.append_later("metrics", step=4, values={})
    time.sleep(3 * QUEUE_SECONDS)
    assert [e["step"] for e in events(journal.folder)] == [0, 1, 2, 3, 4]
    assert events(journal.folder)[0]["values"] == {"loss": "nan"}
    journal.append_later("metrics", step=5, values={})
    journal.close()
    assert [e["step"] for e in events(journal.folder)] == [0, 1, 2, 3, 4, 5]


def test_a_full_disk_is_told_to_whoever_appends_next(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "run")
    journal._file = os.open("/dev/full", os.O_WRONLY)
    journal.append_later("metrics", values={})
    time.sleep(3 * QUEUE_SECONDS)
    with pytest.raises(OSError, match="No space"):
        journal.append_later("metrics", values={})


def test_an_event_that_json_cannot_hold_is_refused(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "run")
    with pytest.raises(ValueError):
        journal.append("metrics", value=math.nan)
    assert events(journal.folder) == []
    journal.close()
