"""`weir doctor` on DVC's cache, remotes and locks: one line each, and how to fix it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from dvc.repo import Repo

from weir.commands import doctor_storage
from weir.commands.doctor_storage import check_storage, file_system


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A repository of DVC."""
    root = tmp_path / "repository"
    root.mkdir()
    Repo.init(str(root), no_scm=True).close()
    return root


def configure(root: Path, text: str) -> None:
    (root / ".dvc/config").write_text(f"[core]\n    no_scm = True\n{text}\n")


def findings(root: Path, state: str = "bad") -> list[str]:
    return [finding.text for finding in check_storage(root) if finding.state == state]


def shared(folder: Path) -> Path:
    folder.mkdir(parents=True)
    folder.chmod(0o2775)
    return folder


def test_a_repository_by_itself_has_nothing_to_mend(root: Path) -> None:
    assert findings(root) == []
    assert findings(root, "ok") == ["cache .dvc/cache"]
    (note,) = findings(root, "note")
    assert note.startswith("no default remote") and "dvc remote add" in note


def test_a_cache_that_is_missing_closed_or_not_shared(root: Path, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    configure(root, f"[cache]\n    dir = {cache}\n    shared = group")
    (line,) = findings(root)
    assert f"install -d -m 2775 -g GROUP {cache}" in line
    shared(cache)
    assert findings(root) == []
    cache.chmod(0o755)
    (line,) = findings(root)
    assert f"chmod g+rwxs {cache}" in line
    cache.chmod(0o2775)
    configure(root, f"[cache]\n    dir = {cache}")
    (line,) = findings(root)
    assert "`dvc config --local cache.shared group`" in line


def test_files_that_the_group_cannot_read_are_counted(root: Path, tmp_path: Path) -> None:
    cache = shared(tmp_path / "cache")
    configure(root, f"[cache]\n    dir = {cache}\n    shared = group")
    entry = shared(cache / "runs/ab") / "abc"
    entry.write_text("")
    entry.chmod(0o600)
    (cache / "runs/ab").chmod(0o2700)
    (cache / "runs").chmod(0o2775)
    (line,) = findings(root)
    fix = line.partition("`")[2].partition("`")[0]
    assert "cannot read 2 files or folders" in line
    subprocess.run(fix, shell=True, check=True)
    assert findings(root) == []


def test_remotes_that_do_not_answer(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    remote = "\n['remote \"store\"']\n    url = "
    configure(root, f"{remote}ssh://me:secret@127.0.0.1:9/data")
    (line,) = findings(root)
    assert line.startswith("remote store ssh://127.0.0.1:9/data") and "secret" not in line
    assert "dvc remote modify store" in line
    configure(root, f"{remote}oss://bucket/data")
    (line,) = findings(root)
    assert "dvc-oss" in line or "pip install" in line
    monkeypatch.setattr(doctor_storage, "ANSWER_SECONDS", 0.0)
    configure(root, f"{remote}ssh://127.0.0.1:9/data")
    (line,) = findings(root)
    assert "no answer in 0 s" in line or "127.0.0.1" in line


def test_a_lock_of_another_machine(root: Path) -> None:
    rwlock = root / ".dvc/tmp/rwlock"
    rwlock.parent.mkdir(exist_ok=True)

    def held_by(pid: int) -> None:
        claim = {"pid": pid, "cmd": "dvc repro stage"}
        rwlock.write_text(json.dumps({"write": {"/a": claim}, "read": {"/b": [claim]}}))

    held_by(3_999_999)  # no process here
    assert findings(root) == []
    (_, note) = findings(root, "note")
    assert "process 3999999 (`dvc repro stage`) runs on another machine or is dead" in note

    other = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    try:
        held_by(other.pid)
        (line,) = findings(root)
        assert f"process {other.pid}" in line and "remove that file" in line
    finally:
        other.communicate(b"\n")
    rwlock.write_text("")
    (line,) = findings(root)
    assert "unreadable" in line and "remove that file" in line


def test_file_system_is_that_of_the_innermost_mount() -> None:
    assert file_system(Path("/proc/self")) == "proc"
    assert file_system(Path("/")) == file_system(Path("/")) != "unknown"


def test_a_network_file_system_without_link_locks_is_noted(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(doctor_storage, "file_system", lambda path: "nfs4")
    (line,) = [line for line in findings(root, "note") if "nfs4" in line]
    assert "dvc config core.hardlink_lock true" in line
    configure(root, "    hardlink_lock = true")
    assert not [line for line in findings(root, "note") if "nfs4" in line]


def test_umask_is_noted_where_the_cache_is_shared(root: Path, tmp_path: Path) -> None:
    cache = shared(tmp_path / "cache")
    configure(root, f"[cache]\n    dir = {cache}\n    shared = group")
    before = os.umask(0o077)
    try:
        (line,) = [line for line in findings(root, "note") if "umask" in line]
        assert line.startswith("umask 077") and "`umask 007`" in line
    finally:
        os.umask(before)
