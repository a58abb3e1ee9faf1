"""What stage evaluate adds to a task's scores, and what it asks of the task."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest
from torch import nn

from weir.artifacts.evaluation import Cost, Definition, Scored
from weir.artifacts.model_folder import ModelCard
from weir.artifacts.stage_paths import StagePaths
from weir.errors import UserError, WeirError
from weir.files import folder_digest
from weir.settings.nodes import Evaluate
from weir.stages import evaluate
from weir.tracking.tracker import NullTracker

STAGE1 = ModelCard("stage1", "net", 5, "cells", "mice-f2", {"dataset": "mice"}, {"fold": "roe"})
BASELINE = ModelCard(
    "baseline", "copula", 5, "cells", "mice-f2", {"dataset": None}, {"fold": "roe"}, vars(STAGE1)
)
SCORED = Scored(
    headline="crps",
    metrics={"crps": 0.5},
    definitions={"crps": Definition("CRPS", "of it", "none", "lower")},
    protocol={"split": "test"},
    nfe=3,
    latency_ms=1.5,
    seconds=2.0,
    curve=pd.DataFrame({"x": [1]}),
    quality_curve=[{"steps": 1, "nfe": None, "crps": 0.7}],
    tables={"table": pd.DataFrame({"x": [1]})},
    files={"note.txt": lambda file: file.write_text("x")},
)


@pytest.fixture
def stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Evaluate a baseline with a task that finds `SCORED`, but for what is changed."""

    def call(key: str, card: ModelCard = BASELINE, **change: Any) -> dict[str, Any]:
        def score(model, data, config, *, seed: int, label: str) -> Scored:
            return replace(SCORED, **change)

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
        call.paths = paths
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


def test_what_a_task_found_is_written(stage, tmp_path: Path) -> None:
    document = stage("copula-s5")
    one = {"label": "CRPS", "definition": "of it", "scale": "none", "better": "lower"}
    assert document == {
        "name": "copula-s5",
        "node": "copula",
        "seed": 5,
        "fold": "roe",
        "task": "cells",
        "dataset": "mice",
        "kind": "baseline",
        "label": "copula",
        "model": "baseline/copula",
        "headline": "crps",
        "metrics": {"crps": 0.5},
        "definitions": {"crps": one},
        "protocol": {"split": "test"},
        "nfe": 3,
        "quality_curve": [{"steps": 1, "nfe": None, "crps": 0.7}],
        "lineage": {
            **BASELINE.lineage(),
            "evaluate": Evaluate(model="baseline/copula").model_dump(mode="json"),
        },
    }
    text = json.dumps(document, indent=1, sort_keys=True) + "\n"
    assert (tmp_path / "out/details/evaluation.json").read_text() == text
    assert json.loads((tmp_path / "out/metrics.json").read_text()) == {"crps": 0.5}
    assert (tmp_path / "out/curve.csv").read_text() == "x\n1\n"
    names = {path.name for path in (tmp_path / "out/details").iterdir()}
    assert names == {"evaluation.json", "table.parquet", "note.txt"}


def test_a_task_may_tell_the_kind_and_the_families(stage) -> None:
    cost = {"protocol": {"split": "test"}, "nfe": 1}
    times = {"latency_ms": 2.0, "seconds": 3.0}
    document = stage("copula-s5", kind="head", families={"Risk": Cost(**cost, **times)})
    assert document["kind"] == "head" and document["families"] == {"Risk": cost}


def test_the_same_scores_in_other_times_are_the_same_output(stage, tmp_path: Path) -> None:
    points = [
        [{"steps": 1, "nfe": 1, "crps": 0.7, "seconds": each, "latency_ms": 2 * each}]
        for each in (1.0, 3.0)
    ]
    digests, times = [], []
    for number, (each, curve) in enumerate(zip((1.0, 3.0), points, strict=True)):
        cost = {"Risk": Cost({}, 1, each, each)}
        stage("copula-s5", latency_ms=each, seconds=each, quality_curve=curve, families=cost)
        digests.append(folder_digest(tmp_path / "out"))
        times.append(stage.paths.times)
        (tmp_path / "out").rename(tmp_path / f"out-{number}")
    assert digests[0] == digests[1]
    for each, found in zip((1.0, 3.0), times, strict=True):
        assert found == {
            "latency_ms": each,
            "seconds": each,
            "quality_curve": [{"seconds": each, "latency_ms": 2 * each}],
            "families": {"Risk": {"latency_ms": each, "seconds": each}},
        }


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"curve": pd.DataFrame()}, r"curve\.csv: the task's curve has no columns"),
        ({"headline": "mse"}, r"evaluation\.json: headline is 'mse', which is no metric"),
        ({"definitions": {}}, r"metrics without a definition: .*evaluation\.json: crps"),
        ({"metrics": {"crps": math.nan}}, r"evaluation\.json: metrics: a number is NaN"),
        ({"metrics": {"crps": "x"}}, r"evaluation\.json: metrics\.crps is 'x', not a number"),
        ({"kind": "wizard"}, r"unknown kind 'wizard'"),
        ({"nfe": 1.5}, r"evaluation\.json: nfe is 1\.5, not whole number or null"),
    ],
)
def test_a_task_that_finds_what_cannot_be_is_at_fault(stage, change, message: str) -> None:
    with pytest.raises(WeirError, match=message) as caught:
        stage("copula-s5", **change)
    assert not isinstance(caught.value, UserError) and "\n" not in str(caught.value)
