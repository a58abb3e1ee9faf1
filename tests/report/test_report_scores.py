"""The scores that documents quote have the agreed shape and hide nothing."""

from __future__ import annotations

import json
import math

import pytest
import synthetic

from weir.artifacts.evaluation import Evaluation
from weir.errors import WeirError
from weir.report.page.scores import scores, scores_text


def document(evaluations: list[Evaluation]) -> dict:
    return scores(
        evaluations,
        "etth1",
        command="dvc repro",
        commit="3f2a9c1",
        hardware="2 cores",
        wall_s=12.5,
    )


def test_the_document_has_exactly_the_agreed_fields() -> None:
    found = document(synthetic.evaluations())
    assert list(found) == [
        "preset",
        "task",
        "dataset",
        "command",
        "commit",
        "hardware",
        "wall_s",
        "protocol",
        "models",
    ]
    assert all(
        list(model) == ["name", "kind", "nfe", "seeds", "folds", "metrics"]
        for model in found["models"]
    )
    assert {model["kind"] for model in found["models"]} == {
        "stage1",
        "teacher",
        "student",
        "joint",
        "baseline",
        "ceiling",
    }


def test_means_and_spreads_are_those_of_the_seeds() -> None:
    runs = [
        synthetic.evaluation("flow", seed, metrics={"crps": value})
        for seed, value in enumerate((0.1, 0.2, 0.3))
    ]
    (model,) = document(runs)["models"]
    assert model["seeds"] == 3
    assert model["metrics"]["crps"] == {"mean": 0.2, "std": 0.1}


def test_what_is_not_known_is_null_and_the_text_is_strict_json() -> None:
    runs = [synthetic.evaluation("flow", 0, metrics={"crps": 0.3, "mse": math.nan})]
    text = scores_text(document(runs))
    (model,) = json.loads(text)["models"]
    assert model["metrics"] == {
        "crps": {"mean": 0.3, "std": None},
        "mse": {"mean": None, "std": None},
    }
    assert text.endswith("}\n") and "NaN" not in text


def test_only_what_all_share_counts_as_protocol() -> None:
    found = document(synthetic.evaluations())["protocol"]
    assert found["windows"] == 2785
    assert "steps" not in found


def test_several_data_sets_are_refused() -> None:
    mixed = [synthetic.evaluation("flow"), synthetic.evaluation("flow", dataset="weather")]
    with pytest.raises(WeirError, match="one data set is needed, not etth1, weather"):
        document(mixed)
    with pytest.raises(WeirError, match="not none"):
        document([])
