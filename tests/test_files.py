"""Outputs are whole or absent, whatever happens while they are written."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from weir.errors import UserError
from weir.files import remove, whole_output, write_atomically


def test_a_finished_folder_takes_its_place(tmp_path: Path) -> None:
    target = tmp_path / "results" / "a"
    with whole_output(target) as folder:
        (folder / "new").write_text("1")
        assert not target.exists()
    assert [path.name for path in target.iterdir()] == ["new"]
    assert [path.name for path in target.parent.iterdir()] == ["a"]


def test_an_old_folder_is_replaced_not_mixed(tmp_path: Path) -> None:
    target = tmp_path / "a"
    target.mkdir()
    (target / "old").write_text("0")
    with whole_output(target) as folder:
        (folder / "new").write_text("1")
    assert [path.name for path in target.iterdir()] == ["new"]


def test_a_failure_leaves_what_was_there(tmp_path: Path) -> None:
    target = tmp_path / "a"
    target.mkdir()
    (target / "old").write_text("0")
    with pytest.raises(RuntimeError), whole_output(target) as folder:
        (folder / "half").write_text("1")
        raise RuntimeError
    assert [path.name for path in target.iterdir()] == ["old"]
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_what_a_killed_process_left_is_removed_but_not_a_living_ones(tmp_path: Path) -> None:
    kill = (
        "import os, pathlib, signal, sys; from weir.files import whole_output\n"
        "with whole_output(pathlib.Path(sys.argv[1])) as folder:\n"
        "    (folder / 'half').write_text('1'); os.kill(os.getpid(), signal.SIGKILL)"
    )
    subprocess.run([sys.executable, "-c", kill, str(tmp_path / "a")], check=False)
    (left,) = tmp_path.iterdir()
    with whole_output(tmp_path / "a") as living:
        assert not left.exists()
        with whole_output(tmp_path / "a"):
            assert living.exists()
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_a_single_file_is_taken_out_of_the_folder(tmp_path: Path) -> None:
    with whole_output(tmp_path / "page.html", "report.html") as folder:
        (folder / "report.html").write_text("x")
        (folder / "by-product").write_text("y")
    assert [path.name for path in tmp_path.iterdir()] == ["page.html"]


def test_a_place_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(UserError, match="cannot be written to"), whole_output(tmp_path / "file/a"):
        pass


def test_permissions_follow_the_umask(tmp_path: Path) -> None:
    before = os.umask(0o002)
    try:
        with whole_output(tmp_path / "a") as folder:
            (folder / "x").write_text("1")
        write_atomically(tmp_path / "b", "1")
    finally:
        os.umask(before)
    assert (tmp_path / "a").stat().st_mode & 0o777 == 0o775
    assert (tmp_path / "b").stat().st_mode & 0o777 == 0o664


def test_a_text_file_is_never_seen_in_part(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.json"
    write_atomically(path, "old")
    monkeypatch.setattr(os, "replace", lambda *_: (_ for _ in ()).throw(OSError("disk")))
    with pytest.raises(OSError, match="disk"):
        write_atomically(path, "new")
    assert path.read_text() == "old"
    assert [item.name for item in tmp_path.iterdir()] == ["a.json"]


KILLED = """
import os, pathlib, shutil, signal, sys
from weir import files

moment, calls, path = int(sys.argv[2]), 0, pathlib.Path(sys.argv[1])

def watched(call):
    def step(*arguments, **options):
        global calls
        calls += 1
        if calls == moment:
            os.kill(os.getpid(), signal.SIGKILL)
        return call(*arguments, **options)
    return step

for owner, name in ((os, "rename"), (os, "replace"), (os, "unlink"), (os, "rmdir"), (os, "mkdir")):
    setattr(owner, name, watched(getattr(owner, name)))
with files.whole_output(path) as folder:
    for name in ("a", "b", "c"):
        (folder / name).write_text("new")
"""


@pytest.mark.parametrize("moment", range(1, 13))
def test_an_output_that_is_replaced_is_whole_or_absent(tmp_path: Path, moment: int) -> None:
    """A process that is killed at each step of replacing a folder of three files."""
    target = tmp_path / "results"
    target.mkdir()
    for name in ("a", "b", "c"):
        (target / name).write_text("old")
    subprocess.run([sys.executable, "-c", KILLED, str(target), str(moment)], check=False)

    def found() -> set[str] | None:
        if not target.exists():
            return None
        assert {path.name for path in target.iterdir()} == {"a", "b", "c"}
        return {path.read_text() for path in target.iterdir()}

    before = found()
    assert before in (None, {"old"}, {"new"})
    with pytest.raises(RuntimeError), whole_output(target):
        assert found() == (before or {"old"}), "what had just been moved aside is back"
        raise RuntimeError
    assert [path.name for path in tmp_path.iterdir()] == ["results"]


def test_what_is_removed_is_whole_or_absent(tmp_path: Path, monkeypatch) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a/file").write_text("x")
    (tmp_path / "link").symlink_to(tmp_path / "a")
    remove(tmp_path / "link")
    assert (tmp_path / "a/file").exists() and not os.path.lexists(tmp_path / "link")
    monkeypatch.setattr(shutil, "rmtree", lambda *_, **__: None)  # killed here
    remove(tmp_path / "a")
    assert not (tmp_path / "a").exists()
