"""Model folders describe themselves and say when they are not whole."""

from __future__ import annotations

import json
import os
from dataclasses import asdict
from pathlib import Path

import pytest
import torch
from torch import nn

from weir.artifacts.model_folder import ModelCard, load_model, read_card, save_model
from weir.errors import UserError


def card(section: str = "stage1", **more) -> ModelCard:
    return ModelCard(section, "a", 3, "forecast", "river", {"width": section}, {"rows": 5}, **more)


def test_a_saved_model_comes_back(tmp_path: Path) -> None:
    model = nn.Linear(2, 3)
    save_model(tmp_path, model, card(), [{"step": 1, "train/loss": 2.0}, {"step": 2}])
    assert read_card(tmp_path) == card()
    loaded = load_model(tmp_path, lambda found: nn.Linear(2, 3))
    assert not loaded.training
    assert torch.equal(loaded.weight, model.weight)
    assert (tmp_path / "history.csv").read_text().splitlines() == ["step,train/loss", "1,2.0", "2,"]


def test_lineage_goes_back_to_the_first_stage() -> None:
    first = card()
    second = card("stage2", upstream=asdict(first))
    student = card("distill", upstream=asdict(second), chain={"teacher": {"steps": 4}})
    assert student.parent() == second
    assert student.lineage() == {
        "stage1": {"width": "stage1"},
        "stage2": {"width": "stage2"},
        "teacher": {"steps": 4},
        "distill": {"width": "distill"},
    }
    with pytest.raises(ValueError, match="no other model"):
        first.parent()


def test_files_follow_the_umask(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        save_model(tmp_path, nn.Linear(1, 1), card())
    finally:
        os.umask(before)
    assert {path.stat().st_mode & 0o777 for path in tmp_path.iterdir()} == {0o640}


def test_a_setting_that_is_no_number_is_not_written(tmp_path: Path) -> None:
    bad = ModelCard("stage1", "a", 0, "forecast", "river", {"x": float("nan")}, {})
    with pytest.raises(ValueError, match="not JSON compliant"):
        save_model(tmp_path, nn.Linear(1, 1), bad)


@pytest.mark.parametrize("content", ["", "{"])
def test_a_damaged_card_is_one_line(tmp_path: Path, content: str) -> None:
    (tmp_path / "config.json").write_text(content)
    with pytest.raises(UserError, match="is damaged") as caught:
        read_card(tmp_path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"format": 0}, "format is 0, and this version of Weir reads 1"),
        ({"format": 2, "colour": 1}, "format is 2, and this version of Weir reads 1"),
        ({"format": None}, "format is None"),
        ({"colour": 1}, "entry colour is not known to this version of Weir"),
        ({"seed": ...}, "entry seed is missing"),
        ({"seed": "3"}, "entry seed is not valid"),
        ({"config": [1]}, "entry config is not valid"),
        ({"upstream": {"section": "stage1"}}, "entry upstream.name is missing"),
        ({"upstream": asdict(card()) | {"format": 2}}, "upstream.format is 2"),
    ],
)
def test_a_card_of_another_version_is_one_line(tmp_path: Path, change: dict, words: str) -> None:
    """It names the file and the entry, and never advises to remove a good model."""
    content = {k: v for k, v in (asdict(card()) | change).items() if v is not ...}
    (tmp_path / "config.json").write_text(json.dumps(content))
    with pytest.raises(UserError) as caught:
        read_card(tmp_path)
    told = str(caught.value)
    assert told.startswith(f"{tmp_path / 'config.json'}: {words}") and "\n" not in told
    assert "version of Weir that wrote it, or train the model again" in told
    assert "damaged" not in told and "remove" not in told


def test_a_card_without_a_format_is_of_the_first(tmp_path: Path) -> None:
    content = asdict(card())
    assert content.pop("format") == 1
    (tmp_path / "config.json").write_text(json.dumps(content))
    assert read_card(tmp_path) == card()


def test_content_that_is_no_card_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("[]")
    with pytest.raises(UserError, match=r"config\.json: its content is no mapping"):
        read_card(tmp_path)
