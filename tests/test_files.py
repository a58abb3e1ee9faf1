"""Outputs are whole or absent, whatever happens while they are written."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from weir.errors import UserError
from weir.files import whole_output, write_atomically


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
