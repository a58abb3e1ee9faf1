"""A throw-away repository to type commands in."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import clinical_chain
import image_chain
import perturb_chain
import pytest
from chain import CHAIN, PARAMS, run_chain

from weir.cli import main

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Outcome:
    """What a command printed and how it ended."""

    code: int
    out: str
    err: str


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The files that commands read, under git, with nothing run yet."""
    for name in ("dvc.yaml", "params.yaml"):
        shutil.copy(ROOT / name, tmp_path / name)
    shutil.copytree(ROOT / "config", tmp_path / "config")
    (tmp_path / "workflow").mkdir()
    git = ["git", "-c", "user.name=t", "-c", "user.email=t@t", "-C", str(tmp_path)]
    subprocess.run([*git, "init", "-q"], check=True)
    subprocess.run([*git, "add", "-A"], check=True)
    subprocess.run([*git, "commit", "-qm", "start"], check=True)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("WEIR_TRACKING", "off")
    return tmp_path


@pytest.fixture
def weir(repository: Path, capfd: pytest.CaptureFixture[str]) -> Callable[..., Outcome]:
    """Run a command line in the repository."""

    def call(*arguments: str) -> Outcome:
        capfd.readouterr()
        code = main(list(arguments))
        out, err = capfd.readouterr()
        return Outcome(code, out, err)

    return call


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository in which every stage has run."""
    return run_chain(tmp_path_factory.mktemp("finished"), PARAMS, CHAIN)


@pytest.fixture(scope="session")
def dish(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository of perturbed cells in which every stage has run; not to be changed."""
    root = tmp_path_factory.mktemp("dish")
    return run_chain(root, perturb_chain.PARAMS, perturb_chain.CHAIN)


@pytest.fixture(scope="session")
def ward(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository of clinical records in which every stage has run; not to be changed."""
    root = tmp_path_factory.mktemp("ward")
    return run_chain(root, clinical_chain.PARAMS, clinical_chain.CHAIN)


@pytest.fixture(scope="session")
def album(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository of pictures in which every stage has run; not to be changed."""
    root = tmp_path_factory.mktemp("album")
    return run_chain(root, image_chain.PARAMS, image_chain.CHAIN)


@pytest.fixture
def place(finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the finished repository, as the current folder."""
    shutil.copytree(finished, tmp_path / "copy")
    monkeypatch.chdir(tmp_path / "copy")
    monkeypatch.setenv("WEIR_TRACKING", "off")
    return tmp_path / "copy"
