"""A stage with nothing to save that is asked to stop says so, and leaves nothing half-written."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from weir.signals import AGAIN_SECONDS, Stopped, stop_on_signals

PARAMS = """\
datasets:
  sea:
    task: forecast
    source: {simulator: {rows: 300000, variables: 8}}
    frequency: 1h
    cycle: 24
    lookback: 48
    horizon: 24
"""


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository with raw data, of which every stage takes seconds."""
    root = tmp_path_factory.mktemp("signals")
    (root / "params.yaml").write_text(PARAMS)
    (root / "dvc.yaml").touch()
    done = start(root, "fetch", "sea")
    assert done.wait() == 0
    return root


def start(root: Path, *arguments: str, shell: str = "") -> subprocess.Popen[str]:
    """`weir`, started by a shell that first runs the given commands."""
    program = f"{shell} exec {sys.executable} -m weir.cli {' '.join(arguments)}"
    environment = {**os.environ, "WEIR_TRACKING": "off", "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        ["bash", "-c", program], cwd=root, env=environment, text=True, stderr=subprocess.PIPE
    )


def parts(root: Path) -> list[Path]:
    """Outputs that are being written."""
    return [path for path in (root / "data").rglob(".*.part-*") if path.is_dir()]


@pytest.mark.parametrize("name", ["SIGTERM", "SIGUSR1", "SIGHUP"])
@pytest.mark.parametrize("shell", ["", "trap '' TERM USR1;"])
@pytest.mark.parametrize("stage", ["fetch", "preprocess"])
def test_it_ends_with_75_and_leaves_nothing(
    stage: str, shell: str, name: str, repository: Path
) -> None:
    assert not parts(repository)
    process = start(repository, stage, "sea", shell=shell)
    while not parts(repository):
        assert process.poll() is None, process.stderr.read()
        time.sleep(0.005)
    process.send_signal(signal.Signals[name])
    _, said = process.communicate(timeout=60)
    assert (process.returncode, parts(repository)) == (75, []), said
    assert said.splitlines()[-1] == f"weir: {name}: stopped, and nothing was kept; run it again"
    assert (repository / "data/raw/sea").exists()
    assert not (repository / "data/processed/sea").exists()


def test_nohup_is_heard(repository: Path) -> None:
    process = start(repository, "preprocess", "sea", shell="trap '' HUP;")
    while not parts(repository):
        assert process.poll() is None, process.stderr.read()
        time.sleep(0.005)
    process.send_signal(signal.SIGHUP)
    process.communicate(timeout=120)
    assert process.returncode == 0


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_what_a_callback_swallows_is_raised_again_and_no_cleanup_is_cut_short() -> None:
    steps = []
    with pytest.raises(Stopped, match="SIGTERM"), stop_on_signals():
        try:
            gone = Raiser()
            del gone  # an exception in here is lost
            steps.append("went on")
            time.sleep(5)
            steps.append("never")
        finally:
            end = time.monotonic() + 3 * AGAIN_SECONDS
            while time.monotonic() < end:
                time.sleep(0.01)
            steps.append("cleaned up")
    assert steps == ["went on", "cleaned up"]


class Raiser:
    """Is sent a signal while it is deleted."""

    def __del__(self) -> None:
        signal.raise_signal(signal.SIGTERM)
