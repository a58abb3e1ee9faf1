"""The task of docs/points: what CONTRIBUTING.md says of an own task is all that one needs."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from checkout import REPOSITORY, Checkout

from weir.pipeline.code import code_digests, kinds_of
from weir.tasks import TASKS, discover

pytestmark = pytest.mark.pipeline

EXAMPLE = REPOSITORY / "docs/points"
NODES = {
    "stage1@pair-units-s0",
    "stage2@pair-flow-s0",
    "teacher@pair-flow-s0",
    "distill@pair-onestep-s0",
    "baseline@pair-gaussian-s0",
    "evaluate@pair-onestep-s0",
    "evaluate@pair-flow-s0",
    "evaluate@pair-gaussian-s0",
}
RUNS = {"fetch@pair", "preprocess@pair", *NODES, "report@pair"}


@pytest.fixture
def own(fresh: Checkout, tmp_path: Path) -> Checkout:
    """A repository in which nothing has run, with a fifth task, which its params.yaml is about."""
    checkout = fresh.copy(tmp_path / "repository")
    ignored = shutil.ignore_patterns("__pycache__")
    shutil.copytree(EXAMPLE, checkout.root / "src/weir/tasks/points", ignore=ignored)
    shutil.copy(REPOSITORY / "docs/points.yaml", checkout.root / "params.yaml")
    checkout.run("git", "add", "--all")
    checkout.run("git", "commit", "--quiet", "--message=Points")
    return checkout


def test_the_example_is_short() -> None:
    lines = [line for file in EXAMPLE.rglob("*.py") for line in file.read_text().splitlines()]
    assert 100 < sum(bool(line.strip()) for line in lines) < 200


def test_an_own_task_runs_through_both_engines(own: Checkout) -> None:
    assert own.executed_by_snakemake() == RUNS
    assert own.stale() == set()
    assert own.executed_by_dvc() == set()
    assert own.planned() == set()

    scores = {
        name: json.loads((own.root / f"results/evaluate/{name}-s0/metrics.json").read_text())
        for name in ("pair-flow", "pair-onestep", "pair-gaussian")
    }
    best = scores["pair-gaussian"]["energy_score"]
    assert scores["pair-flow"]["energy_score"] < best
    assert scores["pair-onestep"]["energy_score"] < best
    page = (own.root / "results/report/pair.html").read_text()
    for words in ("Energy score", "Spread ratio", *scores):
        assert words in page

    own.edit("src/weir/tasks/points/evaluation/evaluate.py", ".mean()", ".median()")
    evaluations = {name for name in RUNS if name.startswith("evaluate@")}
    assert own.executed_by_dvc() == {*evaluations, "report@pair"}
    assert own.planned() == set()


def test_the_tools_take_an_own_task_as_one_of_theirs(own: Checkout) -> None:
    assert "stage2     pair-flow                    points     <- stage1/pair-units" in own.run(
        "weir", "params", "show"
    )
    assert "width: 32" in own.run("weir", "params", "show", "stage2/pair-flow")
    shutil.copytree(REPOSITORY / "config", own.root / "config")
    (own.root / "docs").mkdir()
    own.run("weir", "params", "schema")
    assert "up to date" in own.run("weir", "params", "schema", "--check")
    assert "stage2, task `points`" in (own.root / "docs/params.md").read_text()
    assert "task `points`" in (own.root / "docs/artifacts.md").read_text()
    text = own.run("weir", "data", "add", "x.csv", "--name=x", "--task=points", ok=False)
    assert "--task points: does not describe files; write the node into params.yaml" in text


def test_an_own_task_is_held_to_the_same_rules(own: Checkout) -> None:
    for name in ("test_layers.py", "conftest.py"):
        target = own.root / "tests" / name
        target.parent.mkdir(exist_ok=True)
        shutil.copy(REPOSITORY / "tests" / name, target)
    shutil.copy(REPOSITORY / "pyproject.toml", own.root)
    own.run("python", "-m", "pytest", "tests/test_layers.py", "-k", "every_part or say_only")
    own.run("lint-imports")


def test_a_new_task_leaves_the_code_of_the_others_as_it_is(own: Checkout) -> None:
    found = own.run("python", "-c", "from weir.tasks import TASKS; print(*TASKS)")
    assert tuple(found.split()) == (*TASKS, "points") == discover(own.root / "src/weir/tasks")
    kinds = kinds_of(json.loads((REPOSITORY / "workflow" / "plan.json").read_text()))
    before, after = (
        code_digests(kinds, root / "src/weir")["code"] for root in (REPOSITORY, own.root)
    )
    assert {**before, "report": ""} == {**after, "report": ""}  # which may show any task
