"""Evaluations come back as they were written, and say which field is damaged."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from weir.artifacts.evaluation import (
    KEYS,
    TIMES,
    Cost,
    Definition,
    Evaluation,
    Scored,
    load_evaluation,
    save_evaluation,
)
from weir.errors import UserError

SCORED = Scored(
    headline="crps",
    metrics={"crps": 0.5, "coverage": 1.0},
    definitions={
        "crps": Definition("CRPS", "of it", "none", "lower", pool="median"),
        "coverage": Definition("coverage", "of it", "none", 0.9),
    },
    protocol={"split": "test"},
    nfe=3,
    latency_ms=1.5,
    seconds=2.0,
    curve=pd.DataFrame({"x": [1]}),
    quality_curve=[{"steps": 1, "nfe": 3, "crps": 0.7}],
    families={"Risk": Cost({"split": "test"}, 1, 2.0, 3.0)},
    tables={"pit": pd.DataFrame({"bin": [0]})},
)
IDENTITY = {"name": "a-s1", "node": "a", "seed": 1, "fold": "b", "task": "t", "dataset": "d"}
EVALUATION = Evaluation.of(
    SCORED, kind="student", label="A", model="distill/a", lineage={"distill": {}}, **IDENTITY
)


def test_an_evaluation_comes_back(tmp_path: Path) -> None:
    save_evaluation(tmp_path, EVALUATION, SCORED)
    found = load_evaluation(tmp_path / "details", EVALUATION.times())
    assert (found.latency_ms, found.seconds) == (1.5, 2.0)
    assert found.document() == EVALUATION.document()
    assert found.tables["pit"]["bin"].tolist() == [0]
    assert found.definitions == SCORED.definitions and found.families == SCORED.families
    save_evaluation(tmp_path, found, replace(SCORED, tables={}))
    assert load_evaluation(tmp_path / "details").document() == found.document()


def test_without_its_times_they_are_missing(tmp_path: Path) -> None:
    save_evaluation(tmp_path, EVALUATION, SCORED)
    found = load_evaluation(tmp_path / "details")
    assert math.isnan(found.latency_ms) and math.isnan(found.families["Risk"].seconds)
    assert found.metrics == EVALUATION.metrics


def test_every_key_is_described() -> None:
    assert {key.name for key in KEYS} == set(EVALUATION.document())
    assert {key.name for key in TIMES} == set(EVALUATION.times())
    assert all(key.meaning for key in KEYS)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        *[({key.name: None}, key.name) for key in KEYS if key.required],
        ({"seed": "x"}, 'seed is "x", not whole number or null'),
        ({"seed": True}, "seed is true, not whole number or null"),
        ({"protocol": 3}, "protocol is 3, not mapping"),
        ({"quality_curve": {}}, "quality_curve is {}, not list"),
        ({"quality_curve": [3]}, "quality_curve has a point that is no mapping"),
        ({"quality_curve": [{"crps": "x"}]}, r"quality_curve\.crps is 'x', not a number"),
        ({"metrics": {"crps": "x"}}, r"metrics\.crps is 'x', not a number"),
        ({"families": {"Risk": {}}}, r"families\.Risk: lacks protocol"),
        ({"definitions": {"crps": {}, "coverage": {}}}, "crps: lacks label"),
    ],
)
def test_damage_names_file_and_field(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    save_evaluation(tmp_path, EVALUATION, SCORED)
    file = tmp_path / "details" / "evaluation.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | change))
    with pytest.raises(UserError, match=rf"evaluation\.json: .*{message}.*; evaluate") as caught:
        load_evaluation(tmp_path / "details")
    assert "\n" not in str(caught.value)


def test_a_damaged_table_is_named(tmp_path: Path) -> None:
    save_evaluation(tmp_path, EVALUATION, SCORED)
    (tmp_path / "details" / "pit.parquet").write_bytes(b"x")
    with pytest.raises(UserError, match=r"pit\.parquet: .*; evaluate again") as caught:
        load_evaluation(tmp_path / "details")
    assert "\n" not in str(caught.value)
