"""A job ends well although DVC's list of running stages lost entries, or is left half-written."""

from __future__ import annotations

import importlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from dvc import rwlock as dvc_rwlock
from dvc.exceptions import DvcException
from dvc.fs import localfs
from dvc.lock import LockError

from weir.engines.dvc.claims import await_earlier_attempt, tolerate_lost_claims

OTHERS = {"pid": 1, "cmd": "another node's"}


@pytest.fixture(autouse=True)
def _as_dvc_is() -> Iterator[None]:
    """DVC's module as DVC has it, whatever ran in this process before."""
    importlib.reload(dvc_rwlock)
    yield
    importlib.reload(dvc_rwlock)


def claim(folder: Path, strike: bool) -> dict[str, object]:
    """What the list holds after a command that read `a` and wrote `b`."""
    file = folder / "rwlock"
    file.write_text(json.dumps({"write": {}, "read": {"/a": [OTHERS], "/c": [OTHERS]}}))
    with dvc_rwlock.rwlock(str(folder), localfs, "mine", ["/a"], ["/b"], False):
        assert json.loads(file.read_text())["write"]["/b"]["cmd"] == "mine"
        if strike:
            file.write_text(json.dumps({"write": {}, "read": {"/c": [OTHERS]}}))
    return json.loads(file.read_text())


def test_a_struck_claim_is_no_error(tmp_path: Path) -> None:
    with pytest.raises(AssertionError):
        claim(tmp_path, strike=True)  # as DVC is: if this changes, the module can go
    tolerate_lost_claims()
    assert claim(tmp_path, strike=True)["read"] == {"/c": [OTHERS]}
    assert claim(tmp_path, strike=False)["read"] == {"/a": [OTHERS], "/c": [OTHERS]}


@pytest.mark.parametrize("left", ["", '{"write": {"/b"', '{"write": 3}'])
def test_a_list_left_by_a_killed_process_is_begun_again(tmp_path: Path, left: str) -> None:
    def run() -> None:
        (tmp_path / "rwlock").write_text(left)
        with dvc_rwlock.rwlock(str(tmp_path), localfs, "mine", ["/a"], ["/b"], False):
            claims = json.loads((tmp_path / "rwlock").read_text())
            assert claims["write"]["/b"]["cmd"] == claims["read"]["/a"][0]["cmd"] == "mine"

    with pytest.raises(DvcException):
        run()  # as DVC is
    tolerate_lost_claims()
    run()
    assert json.loads((tmp_path / "rwlock").read_text()) == {}


def test_a_process_killed_while_it_writes_leaves_the_list_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tolerate_lost_claims()
    before = json.dumps({"write": {}, "read": {"/c": [OTHERS]}})
    (tmp_path / "rwlock").write_text(before)
    child = os.fork()
    if not child:
        monkeypatch.setattr(os, "replace", lambda *_: os.kill(os.getpid(), signal.SIGKILL))
        with dvc_rwlock.rwlock(str(tmp_path), localfs, "killed", ["/a"], ["/b"], False):
            os._exit(0)
    assert os.WTERMSIG(os.waitpid(child, 0)[1]) == signal.SIGKILL
    assert (tmp_path / "rwlock").read_text() == before


@pytest.fixture
def patched() -> None:
    tolerate_lost_claims()


def claimed_by(pid: int, folder: Path, command: str = "dvc repro x") -> None:
    (folder / "rwlock").write_text(json.dumps({"write": {"/b": {"pid": pid, "cmd": command}}}))


def is_busy(folder: Path) -> bool:
    try:
        with dvc_rwlock.rwlock(str(folder), localfs, "mine", [], ["/b"], False):
            return False
    except LockError:
        return True


@pytest.mark.usefixtures("patched")
def test_only_a_living_process_that_can_be_dvc_holds_files(tmp_path: Path) -> None:
    python = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    other = subprocess.Popen(["cat"], stdin=subprocess.PIPE)
    try:
        claimed_by(python.pid, tmp_path)
        assert is_busy(tmp_path)
        claimed_by(other.pid, tmp_path)
        assert not is_busy(tmp_path)
        python.kill()
        os.waitid(os.P_PID, python.pid, os.WEXITED | os.WNOWAIT)  # ended, and nobody has looked
        claimed_by(python.pid, tmp_path)
        assert not is_busy(tmp_path)
    finally:
        for process in (python, other):
            process.kill()
            process.wait()


@pytest.mark.usefixtures("patched")
def test_an_attempt_waits_for_the_end_of_the_one_before(tmp_path: Path) -> None:
    before = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(1.5)"])
    claimed_by(before.pid, tmp_path, "dvc repro mine")
    await_earlier_attempt(tmp_path, "dvc repro another")
    assert before.poll() is None and is_busy(tmp_path)
    claimed_by(before.pid, tmp_path, "dvc repro mine")
    await_earlier_attempt(tmp_path, "dvc repro mine")
    assert before.wait() == 0 and not is_busy(tmp_path)
