"""Stages as they are: processes of their own that start together, die, and find no server."""

import multiprocessing
import os
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

from weir.tracking.journal import QUEUE_SECONDS, spool_folder
from weir.tracking.run import CLOSE_SECONDS
from weir.tracking.shipper import sync
from weir.tracking.store import connect, resolve_store

STARTS = 12

STAGE = """
import sys, time
from pathlib import Path
from weir.tracking.run import open_stage
root, key, wait = Path(sys.argv[1]), sys.argv[2], float(sys.argv[3])
with open_stage(root, section="stage1", key=key, name="n", seed=0, task="forecast",
                dataset="toy") as tracker:
    for step in range(20):
        tracker.log_metrics({"loss": step}, step)
    print("logged", flush=True)
    time.sleep(wait)
assert "mlflow" not in sys.modules
"""


def stage(root: Path, key: str, wait: float = 0.0, **environment: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", STAGE, str(root), key, str(wait)],
        env={**os.environ, "WEIR_TRACKING": "on", **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def rows(root: Path, query: str) -> list[tuple]:
    with sqlite3.connect(root / "mlflow.db", timeout=30) as connection:
        return connection.execute(query).fetchall()


def wait_until_sent(root: Path, seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while list(spool_folder(root).glob("*/events.jsonl")):
        assert time.monotonic() < deadline, (spool_folder(root) / "shipper.log").read_text()
        time.sleep(0.1)


def _first_start(root: Path, barrier: "multiprocessing.synchronize.Barrier", number: int) -> None:
    os.environ.pop("PYTEST_CURRENT_TEST", None)
    barrier.wait()
    client = connect(resolve_store(root))
    client.create_run("0", run_name=str(number))


def test_twelve_processes_set_up_one_empty_database(root: Path) -> None:
    import mlflow.tracking  # noqa: F401  (once, before the forks)

    fork = multiprocessing.get_context("fork")
    barrier = fork.Barrier(STARTS)
    processes = [fork.Process(target=_first_start, args=(root, barrier, i)) for i in range(STARTS)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0] * STARTS
    assert rows(root, "SELECT count(*) FROM runs") == [(STARTS,)]


def test_twelve_stages_start_at_once_in_an_empty_repository(root: Path) -> None:
    stages = [stage(root, f"n-s{i}") for i in range(STARTS)]
    outcomes = [(*process.communicate(timeout=120), process.returncode) for process in stages]
    assert [code for _, _, code in outcomes] == [0] * STARTS
    wait_until_sent(root)
    assert rows(root, "SELECT count(*) FROM runs WHERE status = 'FINISHED'") == [(STARTS,)]
    query = "SELECT count(DISTINCT step), count(*) FROM metrics WHERE key {} GROUP BY run_uuid"
    assert rows(root, query.format("NOT LIKE 'system/%'")) == [(20, 20)] * STARTS
    assert len(rows(root, query.format("LIKE 'system/%'"))) == STARTS


def test_without_a_server_a_stage_goes_on_and_says_so_once(root: Path) -> None:
    process = stage(root, "n-s0", MLFLOW_TRACKING_URI="http://127.0.0.1:9")
    output, errors = process.communicate(timeout=60)
    assert process.returncode == 0 and output == "logged\n"
    (line,) = errors.splitlines()
    assert "127.0.0.1:9" in line and "weir tracking sync" in line
    report = sync(root)
    assert len(report.waiting) == 1 and report.sent == []


def test_a_killed_stage_is_recorded_as_killed(root: Path) -> None:
    process = stage(root, "n-s0", 600)
    assert process.stdout is not None
    assert process.stdout.readline() == "logged\n"
    time.sleep(3 * QUEUE_SECONDS)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    wait_until_sent(root)
    assert rows(root, "SELECT status FROM runs") == [("KILLED",)]
    assert rows(root, "SELECT count(*) FROM metrics") == [(20,)]


def test_a_spool_that_cannot_be_written_does_not_end_the_stage(root: Path) -> None:
    (root / ".weir").write_text("a file in the way")
    process = stage(root, "n-s0")
    output, errors = process.communicate(timeout=60)
    assert process.returncode == 0 and output == "logged\n"
    assert len(errors.splitlines()) == 1


def test_a_server_that_never_answers_holds_nobody_up(root: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        uri = f"http://127.0.0.1:{silent.getsockname()[1]}"
        started = time.monotonic()
        process = stage(root, "n-s0", MLFLOW_TRACKING_URI=uri, MLFLOW_HTTP_REQUEST_TIMEOUT="1")
        output, errors = process.communicate(timeout=60)
        assert process.returncode == 0 and output == "logged\n"
        assert "timed out" in errors and len(errors.splitlines()) == 1
        assert time.monotonic() - started < CLOSE_SECONDS + 5


def test_when_off_nothing_is_written(root: Path) -> None:
    process = stage(root, "n-s0", WEIR_TRACKING="off")
    assert process.communicate(timeout=60) == ("logged\n", "")
    assert list(root.iterdir()) == []
