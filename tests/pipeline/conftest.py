"""Throw-away repositories: one in which nothing has run, one in which `snakemake` has.

Both are made once, also for several test processes, and never changed: tests work on copies.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from checkout import PARAMS, REPOSITORY, STAGES, Checkout
from filelock import FileLock


@pytest.fixture(scope="session")
def fresh(tmp_path_factory: pytest.TempPathFactory) -> Checkout:
    """A committed repository in which nothing has run."""
    return _once(tmp_path_factory, "fresh", _make_fresh)


@pytest.fixture(scope="session")
def done(tmp_path_factory: pytest.TempPathFactory, fresh: Checkout) -> Checkout:
    """The same after `snakemake`, committed and pushed."""

    def make(root: Path) -> None:
        checkout = fresh.copy(root)
        assert checkout.executed_by_snakemake() == STAGES
        checkout.run("git", "add", "--all")
        checkout.run("git", "commit", "--quiet", "--message=Run")
        checkout.dvc("push", "--quiet")

    return _once(tmp_path_factory, "done", make)


@pytest.fixture
def untouched(fresh: Checkout, tmp_path: Path) -> Checkout:
    """A copy of the repository in which nothing has run."""
    return fresh.copy(tmp_path / "repository")


@pytest.fixture
def checkout(done: Checkout, tmp_path: Path) -> Checkout:
    """A copy of the finished repository."""
    return done.copy(tmp_path / "repository")


def _once(factory: pytest.TempPathFactory, name: str, make: Callable[[Path], None]) -> Checkout:
    base = factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "pipeline"
    folder.mkdir(exist_ok=True)
    with FileLock(folder / f"{name}.lock"):
        if not (folder / f"{name}.made").exists():
            shutil.rmtree(folder / name, ignore_errors=True)
            make(folder / name)
            (folder / f"{name}.made").touch()
    return Checkout(folder / name)


def _make_fresh(root: Path) -> None:
    root.mkdir()
    shutil.copytree(
        REPOSITORY / "src", root / "src", ignore=shutil.ignore_patterns("__pycache__", "*.egg-info")
    )
    shutil.copytree(REPOSITORY / "workflow", root / "workflow")
    for name in ("dvc.yaml", ".dvcignore", ".gitignore", "environment.yml"):
        shutil.copy(REPOSITORY / name, root / name)
    (root / "slurm").symlink_to("workflow/profiles/slurm")
    (root / "params.yaml").write_text(PARAMS)
    checkout = Checkout(root)
    checkout.run("git", "init", "--quiet", "--initial-branch=main")
    checkout.dvc("init", "--quiet")
    shutil.copy(REPOSITORY / ".dvcignore", root / ".dvcignore")
    checkout.dvc("remote", "add", "--default", "--quiet", "store", str(root.with_name("store")))
    checkout.run("weir", "plan")
    checkout.run("git", "add", "--all")
    checkout.run("git", "commit", "--quiet", "--message=Begin")
