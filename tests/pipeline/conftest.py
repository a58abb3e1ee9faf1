"""Throw-away repositories: one in which nothing has run, one in which `snakemake` has."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from checkout import PARAMS, REPOSITORY, STAGES, Checkout


@pytest.fixture(scope="session")
def fresh(tmp_path_factory: pytest.TempPathFactory) -> Checkout:
    """A committed repository in which nothing has run."""
    root = tmp_path_factory.mktemp("weir") / "repository"
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
    return checkout


@pytest.fixture(scope="session")
def done(fresh: Checkout) -> Checkout:
    """The repository after `snakemake`, committed and pushed; tests copy it before they edit."""
    checkout = fresh.copy(fresh.root.with_name("done"))
    assert checkout.executed_by_snakemake() == STAGES
    checkout.run("git", "add", "--all")
    checkout.run("git", "commit", "--quiet", "--message=Run")
    checkout.dvc("push", "--quiet")
    return checkout


@pytest.fixture
def checkout(done: Checkout, tmp_path: Path) -> Checkout:
    """A copy of the finished repository, to be edited."""
    return done.copy(tmp_path / "repository")
