"""Two real processes (Gloo, CPU) train as one does, stop as one does and fail as one does.

Sums of floats are ordered otherwise, so weights may differ by `TOLERANCE` from those of one
process; from those of the same number of processes they differ by nothing.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import training_toy
from safetensors import safe_open
from safetensors.torch import load_file

from weir.training.checkpoints import checkpoint_file, read_record

TOLERANCE = 1e-4
UNEVEN = {"batch_size": 10, "accumulate": 3, "ema": 0.9}
"""Parts of 4, 3 and 3 items: the first and the last for one process, the second for the other."""

Launch = Callable[..., list[int]]


@pytest.fixture(scope="module")
def launch() -> Iterator[Launch]:
    """Trains in a folder in several processes, one of which is struck; returns exit codes."""
    command = [sys.executable, training_toy.__file__, "serve"]
    server = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
    )

    def launch(
        folder: Path,
        processes: int,
        settings: dict[str, Any] = UNEVEN,
        blow: tuple[str, str, int] | None = None,
        struck: int = 0,
    ) -> list[int]:
        folder.mkdir(exist_ok=True)
        request = [str(folder), blow, settings, processes, struck]
        print(json.dumps(request), file=server.stdin, flush=True)
        return [int(code) for code in server.stdout.readline().split()]

    yield launch
    server.stdin.close()
    server.wait(10)


@pytest.fixture(scope="module")
def one(launch: Launch, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What one process comes to in peace."""
    folder = tmp_path_factory.mktemp("one")
    assert launch(folder, 1) == [0]
    return folder


def difference(folder: Path, other: Path) -> float:
    """Largest difference of any weight or running statistic; histories are nearly equal."""
    file, another = (each / "result.safetensors" for each in (folder, other))
    with safe_open(file, "pt") as a, safe_open(another, "pt") as b:
        ours, theirs = eval(a.metadata()["result"]), eval(b.metadata()["result"])
    assert ours[1:] == theirs[1:]  # best step, steps, whether it stopped early
    for entry, like in zip(ours[0], theirs[0], strict=True):
        assert entry == pytest.approx(like, rel=1e-4)
    weights = load_file(another)
    return max((v - weights[k]).abs().max().item() for k, v in load_file(file).items())


def said(folder: Path) -> tuple[str, str]:
    """What the two processes have said."""
    return (folder / "stderr").read_text(), (folder / "stderr1").read_text()


def test_draws_statistics_and_uneven_parts_are_those_of_one_process(
    launch: Launch, one: Path, tmp_path: Path
) -> None:
    """The toy has dropout, noise and running statistics."""
    assert launch(tmp_path / "two", 2) == [0, 0]
    assert difference(tmp_path / "two", one) < TOLERANCE
    assert launch(tmp_path / "three", 3) == [0, 0, 0]
    assert difference(tmp_path / "three", one) < TOLERANCE


def test_a_signal_to_one_process_stops_all_at_the_same_step(
    launch: Launch, one: Path, tmp_path: Path
) -> None:
    """And the rest is done by another number of processes."""
    # The second process computes one part of a batch, so that its 12th is that of step 12.
    assert launch(tmp_path, 2, blow=("SIGTERM", "step", 12), struck=1) == [75, 0]
    saved = read_record(checkpoint_file(tmp_path / "checkpoints", "interrupted"))
    assert saved["standing"]["step"] == 12
    assert "at step 12 of 40; saved" in said(tmp_path)[0]
    assert said(tmp_path)[1] == ""
    assert launch(tmp_path, 1, blow=("SIGUSR1", "step", 9)) == [75]
    assert "SIGUSR1 at step 15 of 40" in said(tmp_path)[0]
    assert launch(tmp_path, 2) == [0, 0]
    assert difference(tmp_path, one) < TOLERANCE


@pytest.mark.parametrize("struck", [0, 1])
def test_a_killed_process_ends_the_others_and_the_training_resumes_to_the_same_bytes(
    launch: Launch, tmp_path: Path, struck: int
) -> None:
    assert launch(tmp_path / "peace", 2) == [0, 0]
    codes = launch(tmp_path / "struck", 2, blow=("SIGKILL", "step", 19), struck=struck)
    assert codes[struck] == -9
    assert codes[1 - struck] == 1
    assert "another of its 2 processes has ended" in said(tmp_path / "struck")[1 - struck]
    assert launch(tmp_path / "struck", 2) == [0, 0]
    peace, again = ((tmp_path / n / "result.safetensors").read_bytes() for n in ("peace", "struck"))
    assert peace == again


def test_nan_in_one_process_is_one_message(launch: Launch, tmp_path: Path) -> None:
    settings = {"batch_size": 10, "accumulate": 2, "poisoned": True, "calm": True}
    codes = launch(tmp_path, 2, settings)
    assert codes == [1, 0]
    first, second = said(tmp_path)
    assert "is not finite; in the data: batch.x of items 17" in first
    assert second == ""
    assert "Traceback" not in first
    state = load_file(checkpoint_file(tmp_path / "checkpoints", "error"))
    assert all(value.isfinite().all() for value in state.values())


def test_a_checkpoint_that_another_node_does_not_see_is_refused(
    launch: Launch, tmp_path: Path
) -> None:
    """The folders of the processes differ, as on local disks of two nodes."""
    local = {**UNEVEN, "local": True}
    launch(tmp_path, 2, local, blow=("SIGTERM", "step", 9))
    assert launch(tmp_path, 2, local) == [2, 2]
    assert "not the same folder on all nodes" in said(tmp_path)[0]
