"""Runs: nodes crossed with seeds, and their compiled form."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from weir.pipeline.layout import Layout
from weir.pipeline.params.graph import load_params
from weir.pipeline.plan import compile_plan, write_plan
from weir.pipeline.runs import runs

PARAMS = """\
seeds: [3, 5]
datasets: {river: {task: forecast, source: {simulator: {}}, frequency: 1h}}
stage1: {back: {dataset: river}}
stage2: {flow: {stage1: back}}
teacher: {flow: {model: stage2/flow}}
distill: {student: {teacher: flow}}
baseline:
  naive: {method: seasonal_naive, dataset: river}
  copula: {method: head_copula, stage1: back}
evaluate:
  student: {model: distill/student}
  naive: {model: baseline/naive}
report: {index: {}}
"""


@pytest.fixture
def params(tmp_path: Path):
    path = tmp_path / "params.yaml"
    path.write_text(PARAMS)
    return load_params(path)


def test_each_seed_is_a_chain_of_its_own(params) -> None:
    every = runs(params)
    assert every["distill/student-s5"].upstream == ("teacher/flow-s5",)
    assert every["stage2/flow-s3"].upstream == ("stage1/back-s3",)
    assert every["stage1/back-s3"].upstream == ("datasets/river",)
    assert every["evaluate/naive"].upstream == ("baseline/naive",)
    assert every["report/index"].upstream == (
        "evaluate/student-s3",
        "evaluate/student-s5",
        "evaluate/naive",
    )


def test_upstream_runs_exist_and_come_first(params) -> None:
    order = list(runs(params))
    for ref, run in runs(params).items():
        for above in run.upstream:
            assert order.index(above) < order.index(ref)


def test_the_plan_holds_the_graph_and_no_setting(params) -> None:
    plan = compile_plan(params, Layout(params.path.parent))["runs"]
    assert plan["distill"]["student-s5"] == {
        "name": "student",
        "kind": "distill-regression+stage2+stage1-itransformer",
        "arguments": "student --seed 5",
        "seed": 5,
        "task": "forecast",
        "dataset": "river",
        "teacher": "results/teacher/flow-s5",
        "upstream": "results/stage2/flow-s5",
    }
    assert plan["baseline"]["naive"]["upstream"] == "data/processed/river/schema.json"
    assert plan["baseline"]["copula-s3"]["upstream"] == "results/stage1/back-s3"
    before = json.dumps(plan)
    params.path.write_text(PARAMS.replace("{dataset: river}", "{dataset: river, point_weight: 1}"))
    changed = load_params(params.path)
    assert json.dumps(compile_plan(changed, Layout(params.path.parent))["runs"]) == before


def test_writing_twice_changes_nothing(params) -> None:
    layout = Layout(params.path.parent)
    assert write_plan(params, layout)
    assert not write_plan(params, layout)
