"""Who schedules is said to whom the lock keeps out."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from weir.engines.snakemake import lock as head


def _lock(root: Path) -> None:
    (root / head.LOCKS).mkdir(parents=True)
    (root / head.LOCKS / "0.input.lock").touch()


def test_nobody_works_here(tmp_path: Path) -> None:
    head.claim(tmp_path)
    assert head.other(tmp_path) == ""


def test_one_that_runs_is_waited_for(tmp_path: Path) -> None:
    head.claim(tmp_path)
    _lock(tmp_path)
    text = head.other(tmp_path)
    assert f"process {os.getpid()} on {os.uname().nodename}" in text
    assert text.endswith("wait until it ends")


def test_one_that_was_killed_has_left_its_lock(tmp_path: Path) -> None:
    head.claim(tmp_path)
    _lock(tmp_path)
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    record = json.loads((tmp_path / head.RECORD).read_text())
    (tmp_path / head.RECORD).write_text(json.dumps(record | {"pid": gone.pid}))
    assert "was killed" in head.other(tmp_path)
    assert "`snakemake --unlock`" in head.other(tmp_path)


@pytest.mark.parametrize("content", ["", "{}", None])
def test_one_that_has_not_said_who_it_is(tmp_path: Path, content: str | None) -> None:
    _lock(tmp_path)
    if content is not None:
        (tmp_path / head.RECORD).parent.mkdir()
        (tmp_path / head.RECORD).write_text(content)
    assert "`snakemake --unlock`" in head.other(tmp_path)


def test_one_on_another_machine_cannot_be_looked_at(tmp_path: Path) -> None:
    head.claim(tmp_path)
    _lock(tmp_path)
    record = json.loads((tmp_path / head.RECORD).read_text())
    (tmp_path / head.RECORD).write_text(json.dumps(record | {"host": "login2"}))
    assert "on login2" in head.other(tmp_path) and "if it is gone" in head.other(tmp_path)


def test_who_only_asks_does_not_wait() -> None:
    assert head.schedules(["--profile", "slurm", "all"])
    assert not head.schedules(["--profile", "slurm", "-n"])
    assert not head.schedules(["--unlock"])


@pytest.mark.parametrize(
    "words", ["-np", "--dag=dot", "--summ", "--cores 2 -n", "--list-changes code", "--lt", "-D"]
)
def test_who_only_looks_is_known_however_it_is_written(words: str) -> None:
    assert not head.schedules(words.split())


@pytest.mark.parametrize("words", ["", "-j4", "--cores 2 all", "-F", "-R evaluate", "-p"])
def test_who_runs_jobs_is_known_too(words: str) -> None:
    assert head.schedules(words.split())
