"""What the run-cache knows is restored, from the remote if need be, and run again without it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

STAGE = "stages:\n  copy: {cmd: mkdir b; cp a b/c, deps: [a], outs: [b]}\n"


def run(root: Path, *words: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", *words],
        cwd=root,
        env={**os.environ, "DVC_NO_ANALYTICS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


@pytest.fixture(scope="module")
def fetched(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository with another one's run-cache and none of its files, beside the remote."""
    place = tmp_path_factory.mktemp("restore")
    root = place / "repository"
    root.mkdir()
    run(root, "dvc", "init", "--no-scm", "--quiet")
    run(root, "dvc", "remote", "add", "--default", "store", str(place / "store"))
    (root / "dvc.yaml").write_text(STAGE)
    (root / "a").write_text("text")
    assert "Running stage" in run(root, "weir.engines.dvc.repro", "copy")
    run(root, "dvc", "push", "--run-cache")
    shutil.rmtree(root / ".dvc/cache/files")
    shutil.rmtree(root / "b")
    (root / "dvc.lock").unlink()
    return root


def test_files_are_pulled(fetched: Path, tmp_path: Path) -> None:
    root = shutil.copytree(fetched, tmp_path / "repository")
    text = run(root, "weir.engines.dvc.repro", "copy")
    assert "is cached - skipping run" in text and "Running stage" not in text
    assert (root / "b/c").read_text() == "text" and (root / "dvc.lock").exists()


def test_without_the_remote_the_stage_is_run(fetched: Path, tmp_path: Path) -> None:
    root = shutil.copytree(fetched, tmp_path / "repository")
    run(root, "dvc", "remote", "modify", "store", "url", "ssh://127.0.0.1:9/store")
    text = run(root, "weir.engines.dvc.repro", "copy")
    assert "stage 'copy' is run again" in text and "Running stage 'copy'" in text
    assert (root / "b/c").read_text() == "text"


def test_what_no_run_has_made_is_run(fetched: Path, tmp_path: Path) -> None:
    """Also where dvc.lock names outputs, of other dependencies."""
    root = shutil.copytree(fetched, tmp_path / "repository")
    run(root, "weir.engines.dvc.repro", "copy")
    (root / "a").write_text("another")
    assert "Running stage 'copy'" in run(root, "weir.engines.dvc.repro", "copy")
    assert (root / "b/c").read_text() == "another"
