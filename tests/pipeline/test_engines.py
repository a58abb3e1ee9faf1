"""Snakemake and DVC agree: what one has done, the other has not to do."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from checkout import STAGES, STUDENT, Checkout

pytestmark = pytest.mark.pipeline


def test_after_snakemake_nothing_is_left_for_dvc(checkout: Checkout) -> None:
    assert checkout.stale() == set()
    assert "didn't change, skipping" in checkout.dvc("repro")
    assert checkout.executed_by_dvc() == set()
    assert "Nothing to be done" in checkout.snakemake("-n")


def test_after_dvc_nothing_is_left_for_snakemake(untouched: Checkout) -> None:
    naive = {"fetch@river", "preprocess@river", "baseline@naive", "evaluate@naive"}
    assert untouched.executed_by_dvc("evaluate@naive") == naive
    assert untouched.planned("results/evaluate/naive/metrics.json") == set()
    assert untouched.planned() == STAGES - naive


def test_a_parameter_reruns_what_depends_on_it_and_going_back_nothing(checkout: Checkout) -> None:
    rate = "distill.student.training.learning_rate"
    metrics = checkout.root / "results/evaluate/student-s0/metrics.json"
    first = metrics.read_text()

    checkout.edit("params.yaml", "learning_rate: 1.0e-3", "learning_rate: 2.0e-3")
    assert checkout.executed_by_snakemake() == STUDENT
    assert checkout.stale() == set()
    assert checkout.executed_by_dvc() == set()
    second = metrics.read_text()
    assert second != first

    changed = json.loads(checkout.dvc("params", "diff", "--json"))
    assert changed["params.yaml"][rate].items() >= {"old": 1e-3, "new": 2e-3}.items()
    scores = json.loads(checkout.dvc("metrics", "diff", "--json"))
    assert list(scores) == ["results/evaluate/student-s0/metrics.json"]
    checkout.dvc("plots", "diff", "--out", "plots")
    assert "student-s0_curve_csv" in (checkout.root / "plots/index.html").read_text()

    checkout.edit("params.yaml", "learning_rate: 2.0e-3", "learning_rate: 1.0e-3")
    assert checkout.executed_by_snakemake() == set(), "restored from the run-cache"
    assert metrics.read_text() == first
    assert checkout.stale() == set()

    text = checkout.dvc("exp", "run", "--set-param", f"{rate}=0.003")
    assert {name for name in STAGES if f"Running stage '{name}'" in text} == STUDENT
    assert checkout.planned() == set()
    assert metrics.read_text() not in (first, second)

    checkout.dvc("exp", "run", "--set-param", f"{rate}=0.002")
    assert metrics.read_text() == second
    assert checkout.planned() == set()
    assert "0.003" in checkout.dvc("exp", "show", "--csv")


def test_a_clone_pulls_and_has_nothing_to_do(done: Checkout, tmp_path: Path) -> None:
    clone = Checkout(tmp_path / "clone")
    done.run("git", "clone", "--quiet", ".", str(clone.root))
    text = clone.snakemake("-n")
    assert "recorded outputs are missing" in text and "`dvc pull`" in text
    clone.dvc("pull", "--quiet")
    assert clone.planned() == set()
    assert clone.stale() == set()
    assert clone.executed_by_snakemake() == set()
    assert clone.executed_by_dvc() == set()


def test_an_edit_of_code_reruns_what_uses_it(checkout: Checkout) -> None:
    stage = checkout.root / "src/weir/stages/report.py"
    stage.write_text(stage.read_text() + "\n# A remark.\n")
    assert checkout.executed_by_dvc() == set()
    checkout.edit("src/weir/stages/report.py", "snakemake --cores all", "snakemake --cores 2")
    assert checkout.executed_by_dvc() == {"report@all"}
    assert checkout.planned() == set()


def test_an_edited_graph(checkout: Checkout) -> None:
    new_node = "  again: {model: distill/student, samples: 5}\nreport:"
    checkout.edit("params.yaml", "report:", new_node)
    text = checkout.run("weir", "plan", "--check", ok=False)
    assert "workflow/plan.json: out of step with the nodes of params.yaml; run `weir plan`" in text
    text = checkout.dvc("repro", ok=False)
    assert "params.yaml asks for other runs than those that DVC has read; it is written" in text
    assert "Running stage 'report" not in text
    checkout.run("weir", "plan", "--check")

    assert checkout.planned() == {"evaluate@again-s0", "report@all"}
    assert checkout.executed_by_snakemake() == {"evaluate@again-s0", "report@all"}
    assert checkout.stale() == set()

    checkout.edit("params.yaml", new_node, "report:")
    text = checkout.snakemake("-n")
    assert "removed results/evaluate/again-s0" in text
    assert checkout.planned() == {"report@all"}
    assert checkout.executed_by_snakemake() == set(), "the first report is in the run-cache"
    assert checkout.stale() == set()


def test_a_failure_is_shown_and_stops_only_what_depends_on_it(checkout: Checkout) -> None:
    stage = checkout.root / "src/weir/stages/distill.py"
    stage.write_text(stage.read_text() + '\nraise RuntimeError("broken on purpose")\n')
    checkout.edit("params.yaml", "naive, samples: 4", "naive, samples: 6")
    text = checkout.snakemake("--keep-going", ok=False)
    tail = [line for line in text.splitlines() if "broken on purpose" in line]
    assert tail, text
    assert "weir: failed: distill@student-s0: logs/distill/student-s0.log" in text
    assert not list(checkout.root.glob("results/distill/*"))
    assert not list(checkout.root.glob("results/distill/.*"))
    assert (
        "Running stage 'evaluate@naive'" in (checkout.root / "logs/evaluate/naive.log").read_text()
    )
    assert checkout.stale() == STUDENT
    assert checkout.planned() == STUDENT
