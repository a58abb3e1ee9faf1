"""A training that is killed and run again ends with the same bytes as one left in peace."""

from __future__ import annotations

import json
import random
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import training_toy
from safetensors import safe_open

from weir.training.checkpoints import checkpoint_file

SETTINGS = {
    "plain": {},
    "average and parts": {"ema": 0.9, "accumulate": 3},
    "stops early": {"patience": 5, "validate_every": 8, "learning_rate": 0.1, "steps": 400},
    "half precision": {"precision": "bf16", "clip": None},
}


Launch = Callable[..., int]


@pytest.fixture(scope="module")
def launch() -> Iterator[Launch]:
    """Trains in a folder in a process of its own, and returns the exit code."""
    command = [sys.executable, training_toy.__file__, "serve"]
    server = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
    )

    def launch(folder: Path, blow: tuple[str, str, int] | None, settings: dict[str, Any]) -> int:
        folder.mkdir(exist_ok=True)
        print(json.dumps([str(folder), blow, settings]), file=server.stdin, flush=True)
        return int(server.stdout.readline())

    yield launch
    server.stdin.close()
    server.wait(10)


def outcome(folder: Path) -> bytes:
    """Weights and history of a finished training."""
    return (folder / "result.safetensors").read_bytes()


@pytest.mark.parametrize("name", SETTINGS)
def test_killed_at_any_step_and_resumed_gives_the_same_bytes(
    launch: Launch, tmp_path: Path, name: str
) -> None:
    settings = SETTINGS[name]
    assert launch(tmp_path / "peace", None, settings) == 0
    draw = random.Random(name)
    kills = 0
    for where in ("step", "step", "save", "step", "saved", "step"):
        count = draw.randint(1, 3) if where != "step" else draw.randint(1, 15)
        code = launch(tmp_path / "struck", ("SIGKILL", where, count), settings)
        assert code in (-9, 0)
        kills += code == -9
    assert launch(tmp_path / "struck", None, settings) == 0
    assert kills >= 3
    assert outcome(tmp_path / "struck") == outcome(tmp_path / "peace")
    if name == "stops early":
        with safe_open(tmp_path / "peace" / "result.safetensors", "pt") as file:
            assert file.metadata()["result"].endswith("True)")


@pytest.mark.parametrize("name", ["SIGTERM", "SIGUSR1", "SIGINT"])
def test_a_signal_saves_and_leaves_so_that_the_job_is_requeued(
    launch: Launch, tmp_path: Path, name: str
) -> None:
    settings = {"ema": 0.9}
    struck = tmp_path / "struck"
    assert launch(tmp_path / "peace", None, settings) == 0
    assert launch(struck, (name, "step", 12), settings) == 75
    assert checkpoint_file(struck / "checkpoints", "interrupted").exists()
    # The step in which the signal came was finished: 12 steps are done, not 7 as in `last`.
    assert f"{name} at step 12 of 40" in (struck / "stderr").read_text()
    assert launch(struck, (name, "step", 3), settings) == 75
    assert f"{name} at step 15 of 40" in (struck / "stderr").read_text()
    assert launch(struck, None, settings) == 0
    assert outcome(struck) == outcome(tmp_path / "peace")
    assert not checkpoint_file(struck / "checkpoints", "interrupted").exists()
