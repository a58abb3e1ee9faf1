"""Teacher folders come back as pairs, and say which file is not as it should be."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from weir.artifacts.teacher_folder import TeacherCard, TeacherWriter, load_pairs
from weir.errors import UserError, WeirError

ITEMS = torch.tensor([0, 4, 9])


class TenConditions:
    """A data set that only counts."""

    def __len__(self) -> int:
        return 10

    def to(self, device: Any) -> TenConditions:
        del device
        return self

    def batch(self, items: torch.Tensor) -> torch.Tensor:
        return items


CONDITIONS = TenConditions()


def write(folder: Path, knots: int = 1) -> tuple[torch.Tensor, torch.Tensor]:
    """A teacher folder of three conditions with two draws each, written in two runs."""
    (folder / "out").mkdir(parents=True)
    output, inner = torch.randn(3, 2, 4, 5), torch.randn(3, 2, knots, 4, 5)
    for part in (slice(0, 1), slice(1, 3)):
        writer = TeacherWriter(folder / "checkpoints", 3, 2, knots, (4, 5))
        assert writer.done == part.start
        writer.add(output[part], inner[part])
    times = tuple(torch.linspace(0, 1, knots + 2).tolist())
    writer.finish(folder / "out", ITEMS, TeacherCard({"steps": 4}, 7, times, "stage2/flow"))
    return output, inner


def test_killed_while_it_moves_its_arrays_it_begins_again(tmp_path: Path, monkeypatch) -> None:
    moved: list[Path] = []

    def rename(path: Path, target: Path) -> None:
        if moved:
            raise KeyboardInterrupt
        moved.append(target)
        path.replace(target)

    monkeypatch.setattr(Path, "rename", rename)
    with pytest.raises(KeyboardInterrupt):
        write(tmp_path)
    monkeypatch.undo()
    assert moved and TeacherWriter(tmp_path / "checkpoints", 3, 2, 1, (4, 5)).done == 0


@pytest.mark.parametrize("knots", [0, 1])
def test_a_teacher_folder_comes_back(tmp_path: Path, knots: int) -> None:
    output, inner = write(tmp_path, knots)
    pairs, settings = load_pairs(tmp_path / "out", CONDITIONS)
    assert settings == {"steps": 4} and pairs.seed == 7
    assert torch.equal(pairs.items, ITEMS) and torch.equal(pairs.output, output)
    assert torch.equal(pairs.knots, inner) and len(pairs.times) == knots + 2
    assert (tmp_path / "out" / "knots.npy").exists() == (knots > 0)
    assert not list((tmp_path / "checkpoints").iterdir())
    expected = {"teacher": {"steps": 4}, "seed": 7, "model": "stage2/flow"}
    expected["times"] = [0.0, 0.5, 1.0] if knots else [0.0, 1.0]
    text = json.dumps(expected, indent=1, sort_keys=True) + "\n"
    assert (tmp_path / "out" / "config.json").read_text() == text


def test_what_does_not_fit_is_not_written(tmp_path: Path) -> None:
    writer = TeacherWriter(tmp_path, 2, 2, 0, (4,))
    with pytest.raises(
        WeirError, match=r"output\.npy: there is room for \[2, 2, 4\], but .*\[2, 1"
    ):
        writer.add(torch.zeros(2, 1, 4), torch.zeros(2, 1, 0, 4))
    writer.add(torch.zeros(2, 2, 4), torch.zeros(2, 2, 0, 4))
    card = TeacherCard({}, 0, (0.0, 1.0), "stage2/flow")
    with pytest.raises(WeirError, match=r"items\.npy: dtype is float32, not int64"):
        writer.finish(tmp_path, torch.zeros(2), card)
    with pytest.raises(WeirError, match=r"items\.npy: 1 items for 2 of 2 conditions"):
        writer.finish(tmp_path, torch.arange(1), card)
    with pytest.raises(WeirError, match=r"config\.json: 1 times for 0 knots"):
        writer.finish(tmp_path, torch.arange(2), TeacherCard({}, 0, (0.0,), "stage2/flow"))
    with pytest.raises(WeirError, match=r"config\.json would be damaged \(model: "):
        writer.finish(tmp_path, torch.arange(2), TeacherCard({}, 0, (0.0, 1.0), None))


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("config.json", None, r"config\.json cannot be read"),
        ("config.json", b"{", r"config\.json is damaged \("),
        ("config.json", {"seed": "x"}, r"config\.json is damaged \(seed: "),
        ("config.json", {"model": None}, r"config\.json is damaged \(model: "),
        ("config.json", {"times": [0, 1, 1]}, r"config\.json is damaged \(times: they do not ri"),
        ("items.npy", None, r"items\.npy cannot be read \(No such file"),
        ("items.npy", b"x", r"items\.npy is damaged \("),
        ("items.npy", np.zeros(3), r"items\.npy is damaged \(dtype is float64, not int64"),
        ("items.npy", np.arange(2), r"items\.npy is damaged \(2 items for 3 conditions"),
        ("items.npy", np.array([0, 4, 10]), r"items\.npy is damaged \(.* beyond the 10 conditions"),
        ("output.npy", None, r"output\.npy cannot be read"),
        ("output.npy", b"", r"output\.npy is damaged \("),
        ("output.npy", np.zeros(3, "float32"), r"output\.npy is damaged \(shape is \[3\], not \["),
        ("knots.npy", None, r"knots\.npy cannot be read"),
        ("knots.npy", np.zeros((3, 2, 2, 4, 5), "float32"), r"knots\.npy is damaged \(shape is"),
    ],
)
def test_damage_names_the_file(tmp_path: Path, name: str, content: Any, message: str) -> None:
    write(tmp_path)
    file = tmp_path / "out" / name
    if content is None:
        file.unlink()
    elif isinstance(content, bytes):
        file.write_bytes(content)
    elif isinstance(content, dict):
        file.write_text(json.dumps(json.loads(file.read_text()) | content))
    else:
        np.save(file, content)
    with pytest.raises(UserError, match=rf"{message}.*; remove .*out and run its stage") as caught:
        load_pairs(tmp_path / "out", CONDITIONS)
    assert "\n" not in str(caught.value)
