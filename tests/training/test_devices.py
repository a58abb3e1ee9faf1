"""Where a training runs comes from the environment."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import training_toy
from safetensors import safe_open
from training_toy import points, regression

from weir.errors import UserError
from weir.processes import is_main_process, started_by_slurm
from weir.settings.training import Training
from weir.training.checkpoints import checkpoint_file
from weir.training.devices import default_device, open_fabric
from weir.training.stepper import Stepper

SETTINGS = {"calm": True, "steps": 60, "ema": 0.9, "accumulate": 2}


def test_two_processes_train_as_one(tmp_path: Path) -> None:
    (tmp_path / "two").mkdir()
    command = [sys.executable, training_toy.__file__, str(tmp_path / "two"), json.dumps(SETTINGS)]
    more = {"WEIR_DEVICES": "2", "WEIR_ACCELERATOR": "cpu", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, env=os.environ | more, capture_output=True, timeout=120)
    assert done.returncode == 0, done.stderr
    settings = {key: value for key, value in SETTINGS.items() if key != "calm"}
    one, result = training_toy.run(tmp_path / "one", regression(calm=True), **settings)
    with safe_open(tmp_path / "two" / "result.safetensors", "pt") as file:
        for name, tensor in one.state_dict().items():
            assert (file.get_tensor(name) - tensor).abs().max() < 1e-5, name
        history, best_step, *_ = eval(file.metadata()["result"])
    assert best_step == result.best_step
    for theirs, ours in zip(history, result.history, strict=True):
        assert theirs == pytest.approx(ours, rel=1e-4)


def test_there_must_be_a_part_for_every_process() -> None:
    objective, data, settings = regression(), points(), Training(batch_size=8, accumulate=2)
    with pytest.raises(UserError, match=r"accumulate: .* 2 parts .* 3 processes cannot share"):
        Stepper(objective, data, settings, 0, SimpleNamespace(world_size=3))


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("WEIR_DEVICES", "two", "whole number"),
        ("WEIR_NODES", "0", "whole number"),
        ("WEIR_STRATEGY", "magic", "choose one of auto, ddp"),
        ("WEIR_ACCELERATOR", "tpu", "choose one of auto, cpu"),
    ],
)
def test_a_wrong_variable_is_named(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, message: str
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(UserError, match=f"{name}={value}.*{message}"):
        open_fabric("fp32")


def test_the_main_process_knows_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("LOCAL_RANK", "NODE_RANK", "SLURM_PROCID", "SLURM_STEP_NUM_TASKS"):
        monkeypatch.delenv(name, raising=False)
    assert is_main_process()
    monkeypatch.setenv("SLURM_PROCID", "3")  # no step of several tasks: not one of our processes
    assert is_main_process()
    monkeypatch.setenv("WEIR_DEVICES", "4")
    monkeypatch.setenv("SLURM_STEP_NUM_TASKS", "4")
    assert not is_main_process()
    monkeypatch.setenv("SLURM_PROCID", "0")
    assert is_main_process()
    monkeypatch.setenv("LOCAL_RANK", "1")
    assert not is_main_process()


def test_processes_that_nobody_wanted_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else each would train for itself, and write the same output."""
    monkeypatch.setenv("SLURM_STEP_NUM_TASKS", "4")
    monkeypatch.setenv("WEIR_DEVICES", "2")
    with pytest.raises(UserError, match="srun started 4 processes, WEIR_DEVICES x WEIR_NODES is 2"):
        started_by_slurm()


def test_the_cpu_can_be_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WEIR_ACCELERATOR", "cpu")
    assert default_device().type == "cpu"


def test_a_slurm_job_of_one_task_is_left_alone(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name, value in {"SLURM_NTASKS": "1", "SLURM_PROCID": "0", "SLURM_JOB_NAME": "x"}.items():
        monkeypatch.setenv(name, value)
    training_toy.run(tmp_path, steps=2)
    assert checkpoint_file(tmp_path / "checkpoints", "finished").exists()


def test_importing_the_loop_does_not_import_fabric() -> None:
    """Which takes longer than a dry run may."""
    code = "import sys, weir.training.loop; sys.exit('lightning_fabric' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], timeout=120).returncode == 0
