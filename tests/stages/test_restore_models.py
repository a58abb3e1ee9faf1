"""Cards whose settings this version does not read: one line, whatever was changed."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
import torch

from weir.artifacts.model_folder import ModelCard, save_model
from weir.errors import UserError
from weir.settings.nodes import Distill
from weir.stages.restore import build_model, restore
from weir.tasks.forecast.settings.models import ForecastStage1, ForecastStage2

SCHEMA: dict[str, Any] = {
    "task": "forecast",
    "columns": ["a", "b"],
    "frequency": "h",
    "cycle": 4,
    "lookback": 8,
    "horizon": 4,
    "rows": 100,
    "first_time": "2020-01-01",
    "splits": {"train": [0, 80], "validation": [80, 90], "test": [90, 100]},
    "scaler": {"mean": [0.0, 0.0], "std": [1.0, 1.0]},
    "repairs": [],
    "source_sha256": "",
    "digest": "",
    "simulated": False,
}
SMALL = {"width": 8, "layers": 1, "heads": 2}


def card(section: str, config: Any, upstream: ModelCard | None = None) -> ModelCard:
    settings = config.model_dump(mode="json")
    above = None if upstream is None else asdict(upstream)
    return ModelCard(section, "it", 0, "forecast", "river", settings, SCHEMA, above)


STAGE1 = card("stage1", ForecastStage1.model_validate({"dataset": "river", "backbone": SMALL}))
STAGE2 = card("stage2", ForecastStage2.model_validate({"stage1": "it", "network": SMALL}), STAGE1)
STUDENT = card("distill", Distill(teacher="it"), STAGE2)


def written(folder: Path, made: ModelCard, edit: Callable[[dict[str, Any]], object]) -> Path:
    """A model folder whose card was edited afterwards."""
    save_model(folder, build_model(made), made)
    path = folder / "config.json"
    content = json.loads(path.read_text())
    edit(content)
    path.write_text(json.dumps(content))
    return folder


@pytest.mark.parametrize("made", [STAGE1, STAGE2, STUDENT], ids=lambda made: made.section)
def test_a_folder_comes_back_with_all_that_it_is_built_on(tmp_path: Path, made: ModelCard) -> None:
    torch.manual_seed(0)
    found = restore(written(tmp_path, made, lambda content: content.pop("format")))
    assert found.state_dict().keys() == build_model(made).state_dict().keys()
    assert getattr(found, "student", False) == (made.section == "distill")


@pytest.mark.parametrize(
    ("edit", "words"),
    [
        (
            lambda card: card["config"]["network"].update(colour=3),
            "stage2/it: setting network.colour is not known to this version of Weir",
        ),
        (lambda card: card["config"].pop("source"), "stage2/it: setting source is missing"),
        (
            lambda card: card["config"]["network"].pop("width"),
            "stage2/it: setting network.width is missing",
        ),
        (lambda card: card["config"].pop("stage1"), "stage2/it: setting stage1 is missing"),
        (
            lambda card: card["config"]["network"].update(width="wide"),
            "stage2/it: setting network.width is not valid (Input should be a valid integer",
        ),
        (
            lambda card: card["config"]["network"].update(heads=3),
            "stage2/it: setting network is not valid (heads must divide width",
        ),
        (
            lambda card: card["upstream"]["config"]["backbone"].update(heads=3),
            "stage1/it: setting backbone is not valid",
        ),
        (lambda card: card["schema"].pop("horizon"), "stage2/it: entry schema.horizon is missing"),
        (
            lambda card: card["schema"].update(horizon="far"),
            "stage2/it: entry schema.horizon is not valid",
        ),
        (lambda card: card.update(task="weather"), "task 'weather' is not known"),
        (lambda card: card.update(section="stage3"), "section 'stage3' is not known"),
        (lambda card: card.update(format=2), "format is 2, and this version of Weir reads 1"),
        (lambda card: card.update(format=0), "format is 0, and this version of Weir reads 1"),
        (lambda card: card.update(colour=1), "entry colour is not known to this version of Weir"),
    ],
)
@pytest.mark.parametrize("load", [restore, restore])
def test_another_version_s_model_is_told_of_in_one_line(
    tmp_path: Path, edit: Callable[[dict[str, Any]], object], words: str, load: Callable
) -> None:
    folder = written(tmp_path, STAGE2, edit)
    with pytest.raises(UserError) as caught:
        load(folder)
    told = str(caught.value)
    assert told.startswith(f"{folder / 'config.json'}: {words}") and "\n" not in told
    assert told.endswith("load it with the version of Weir that wrote it, or train the model again")
    assert "damaged" not in told and "remove" not in told
