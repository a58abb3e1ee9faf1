"""Checkpoint files: whole or absent, and honest about damage."""

from __future__ import annotations

import errno
import logging
import resource
from pathlib import Path
from typing import Any

import pytest
import torch
import training_toy
from torch import Tensor

from weir.errors import UserError, WeirError
from weir.signals import Interrupted
from weir.training import checkpoints
from weir.training.checkpoints import (
    DamagedCheckpoint,
    checkpoint_file,
    read_checkpoint,
    read_record,
    write_checkpoint,
)

TENSORS = {
    "scalar": torch.tensor(0.1),
    "matrix": torch.randn(3, 4),
    "half": torch.randn(5).to(torch.bfloat16),
    "count": torch.tensor(7),
    "none": torch.empty(0, 2),
}
RECORD = {"step": 3, "third": 1 / 3, "nested": {"empty": None, "list": [1, 2.5]}}


def test_comes_back_bit_for_bit(tmp_path: Path) -> None:
    path = tmp_path / "new" / "last.safetensors"
    write_checkpoint(path, TENSORS, RECORD)
    tensors, record = read_checkpoint(path)
    assert record == RECORD == read_record(path)
    assert tensors.keys() == TENSORS.keys()
    for name, tensor in TENSORS.items():
        assert tensors[name].dtype == tensor.dtype
        assert torch.equal(tensors[name], tensor)


@pytest.mark.parametrize("damage", ["cut", "empty", "flipped", "text", "foreign"])
def test_damage_is_one_line_that_names_the_file(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "last.safetensors"
    write_checkpoint(path, TENSORS, RECORD)
    content = bytearray(path.read_bytes())
    if damage == "flipped":
        content[-3] ^= 1
    path.write_bytes({"cut": content[:-5], "flipped": content, "text": b"x" * 99}.get(damage, b""))
    if damage == "foreign":
        checkpoints.save_file(TENSORS, path)
    with pytest.raises(DamagedCheckpoint, match="is damaged") as caught:
        read_checkpoint(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_file_too_large_for_the_disk_leaves_the_one_before(tmp_path: Path) -> None:
    path = tmp_path / "last.safetensors"
    write_checkpoint(path, TENSORS, RECORD)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))
    try:
        with pytest.raises(WeirError, match="the checkpoint before is intact; make room") as caught:
            write_checkpoint(path, {"large": torch.zeros(1_000_000)}, {})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert "\n" not in str(caught.value)
    assert read_record(path) == RECORD
    assert [file.name for file in tmp_path.iterdir()] == ["last.safetensors"]


def stop_at(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, write: int) -> None:
    """Train until the disk is full at the `write`-th checkpoint."""
    save, calls = checkpoints.save_file, []

    def full(tensors: dict[str, Tensor], path: Path, metadata: Any) -> None:
        calls.append(path)
        if len(calls) >= write:
            Path(path).write_bytes(b"half")
            raise OSError(errno.ENOSPC, "No space left on device")
        save(tensors, path, metadata)

    with monkeypatch.context() as patch:
        patch.setattr(checkpoints, "save_file", full)
        with pytest.raises(WeirError, match=r"No space left on device.*run again to resume"):
            training_toy.run(tmp_path)


def test_a_disk_full_in_training_costs_nothing(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    peace, expected = training_toy.run(tmp_path / "peace")
    # Writes: last at 7, best and last at 14, last at 21 fails.
    stop_at(monkeypatch, tmp_path / "full", 4)
    folder = tmp_path / "full" / "checkpoints"
    assert sorted(p.stem for p in folder.iterdir()) == ["best", "last"]
    objective, result = training_toy.run(tmp_path / "full")
    assert result.resumed_from == 14
    assert result.history == expected.history
    for name, tensor in peace.state_dict().items():
        assert torch.equal(tensor, objective.state_dict()[name])


@pytest.mark.parametrize("broken", [["last"], ["interrupted"], ["last", "interrupted"]])
def test_damaged_checkpoints_are_passed_over(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, broken: list[str]
) -> None:
    peace, expected = training_toy.run(tmp_path / "peace")
    objective = training_toy.regression()
    calls = iter(range(17))
    objective.before_step = lambda: next(calls, None) == 16 and raise_signal()
    with pytest.raises(Interrupted):
        training_toy.run(tmp_path / "struck", objective)
    for kind in broken:
        path = checkpoint_file(tmp_path / "struck" / "checkpoints", kind)
        path.write_bytes(path.read_bytes()[:-9])
    with caplog.at_level(logging.WARNING):
        objective, result = training_toy.run(tmp_path / "struck")
    warnings = [record.message for record in caplog.records if "is damaged" in record.message]
    assert len(warnings) == len(broken)
    assert all("\n" not in warning for warning in warnings)
    resumed = {"last": 17, "interrupted": 14, "last interrupted": None}
    assert result.resumed_from == resumed[" ".join(broken)]
    assert result.history == expected.history
    for name, tensor in peace.state_dict().items():
        assert torch.equal(tensor, objective.state_dict()[name])


def raise_signal() -> None:
    """Ask this process to stop, as Slurm does."""
    import signal

    signal.raise_signal(signal.SIGUSR1)


def test_checkpoints_of_another_training_are_refused(tmp_path: Path) -> None:
    training_toy.run(tmp_path)
    with pytest.raises(UserError, match=r"another training \(other settings\): remove"):
        training_toy.run(tmp_path, learning_rate=0.5)


def test_resuming_computes_with_as_many_threads_as_before(tmp_path: Path) -> None:
    own = torch.get_num_threads()
    objective = training_toy.regression()
    calls = iter(range(5))
    objective.before_step = lambda: next(calls, None) == 4 and raise_signal()
    torch.set_num_threads(own + 1)
    try:
        with pytest.raises(Interrupted):
            training_toy.run(tmp_path, objective)
    finally:
        torch.set_num_threads(own)
    seen: set[int] = set()
    objective = training_toy.regression()
    objective.before_step = lambda: seen.add(torch.get_num_threads())
    training_toy.run(tmp_path, objective)
    assert seen == {own + 1}
    assert torch.get_num_threads() == own
