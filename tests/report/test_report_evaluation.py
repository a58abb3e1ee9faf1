"""A folder of the evaluate stage becomes an Evaluation, or one clear line says why not."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pandas as pd
import pytest
import synthetic

from weir.artifacts.evaluation import load_evaluation, parse_evaluation
from weir.errors import WeirError


def document() -> dict:
    return synthetic.document_of("flow", 0, "etth1", "forecast")


def test_a_folder_is_read_with_its_tables(tmp_path: Path) -> None:
    (tmp_path / "evaluation.json").write_text(json.dumps(document()))
    pd.DataFrame({"bin": [0, 1], "share": [0.4, 0.6]}).to_parquet(tmp_path / "pit.parquet")
    found = load_evaluation(tmp_path)
    assert (found.name, found.seed, found.kind) == ("etth1-flow-s0", 0, "teacher")
    assert found.definitions["coverage_50"].target == 0.5
    assert found.tables["pit"]["share"].tolist() == [0.4, 0.6]


def test_null_and_nan_are_both_missing() -> None:
    changed = document()
    changed["metrics"] |= {"crps": None, "mse": math.nan}
    found = parse_evaluation(changed)
    assert math.isnan(found.metrics["crps"])
    assert math.isnan(found.metrics["mse"])


def test_an_absent_folder_says_what_to_run(tmp_path: Path) -> None:
    with pytest.raises(WeirError, match="run the evaluate stage first"):
        load_evaluation(tmp_path / "nowhere")


def test_damaged_json_names_the_file(tmp_path: Path) -> None:
    (tmp_path / "evaluation.json").write_text("{")
    with pytest.raises(WeirError, match=r"damaged evaluation: .*evaluation\.json"):
        load_evaluation(tmp_path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"kind": "wizard"}, "unknown kind 'wizard'"),
        ({"metrics": {"luck": 1.0}}, "metrics without a definition: evaluation.json: luck"),
        ({"definitions": {}}, "metrics without a definition"),
        (
            {"metrics": {}, "definitions": {"crps": {"label": "CRPS", "better": "bigger"}}},
            "better is 'bigger'",
        ),
    ],
)
def test_a_bad_document_is_refused(change: dict, message: str) -> None:
    with pytest.raises(WeirError, match=message):
        parse_evaluation(document() | change)


def test_a_missing_field_is_named() -> None:
    changed = document()
    del changed["dataset"]
    with pytest.raises(WeirError, match="lacks dataset"):
        parse_evaluation(changed)


def test_badness_knows_three_directions() -> None:
    known = parse_evaluation(document()).definitions
    assert known["crps"].badness(0.2) < known["crps"].badness(0.3)
    assert known["coverage_50"].badness(0.48) < known["coverage_50"].badness(0.55)
    assert known["coverage_50"].badness(math.nan) == math.inf
    higher = parse_evaluation(
        document()
        | {"metrics": {}, "definitions": {"auroc": {"label": "AUROC", "better": "higher"}}}
    ).definitions["auroc"]
    assert higher.badness(0.9) < higher.badness(0.8)
