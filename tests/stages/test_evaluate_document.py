"""What stage evaluate adds to a task's scores, and what it asks of the task."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import pytest
from torch import nn

from weir.artifacts.model_folder import ModelCard
from weir.artifacts.stage_paths import StagePaths
from weir.errors import UserError, WeirError
from weir.settings.nodes import Evaluate
from weir.stages import evaluate
from weir.tracking.tracker import NullTracker

STAGE1 = ModelCard("stage1", "net", 5, "cells", "mice-f2", {"dataset": "mice"}, {"fold": "roe"})
BASELINE = ModelCard(
    "baseline", "copula", 5, "cells", "mice-f2", {"dataset": None}, {"fold": "roe"}, vars(STAGE1)
)


@pytest.fixture
def stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Evaluate a baseline with a task that writes the files named."""

    def call(key: str, card: ModelCard = BASELINE, files: tuple[str, ...] = ("curve.csv",)) -> dict:
        def score(model, data, config, details: Path, *, seed: int, label: str) -> dict:
            for name in files:
                (details.parent / name).touch()
            return {"metrics": {"crps": 0.5}, "headline": "crps"}

        task = SimpleNamespace(
            load=lambda _: SimpleNamespace(to=lambda _: None), evaluate=score, CEILINGS=("oracle",)
        )
        monkeypatch.setattr(evaluate, "part", lambda *_: task)
        monkeypatch.setattr(evaluate, "restore", lambda _: nn.Identity())
        monkeypatch.setattr(evaluate, "read_card", lambda _: card)
        inputs = {"upstream": tmp_path / "model", "data": tmp_path / "data"}
        (tmp_path / "out").mkdir()
        paths = StagePaths(key, tmp_path / "out", inputs)
        config = Evaluate(model="baseline/copula")
        evaluate.run(config, paths, NullTracker(), name="copula", task="cells", seed=5)
        return json.loads((tmp_path / "out/details/evaluation.json").read_text())

    return call


@pytest.mark.parametrize(
    ("key", "seed"),
    [("copula-f2-s5", 5), ("copula-f2", None), ("copula-s5", 5), ("copula", None)],
)
def test_a_run_knows_its_seed_its_group_and_the_whole_dataset(stage, key: str, seed) -> None:
    document = stage(key)
    assert (document["seed"], document["fold"], document["dataset"]) == (seed, "roe", "mice")
    assert document["name"] == key


def test_data_that_holds_no_group_out_has_no_fold(stage) -> None:
    card = ModelCard("stage1", "net", 5, "cells", "mice", {"dataset": "mice"}, {})
    assert stage("net-s5", card)["fold"] is None


def test_a_task_that_writes_no_curve_is_at_fault(stage) -> None:
    with pytest.raises(WeirError, match=r"task cells wrote no curve\.csv") as caught:
        stage("copula-s5", files=())
    assert not isinstance(caught.value, UserError)
