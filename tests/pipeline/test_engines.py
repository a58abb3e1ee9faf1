"""Snakemake and DVC agree: what one has done, the other has not to do."""

from __future__ import annotations

import json
import shutil
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
    assert checkout.planned() == {"report@all"}
    assert checkout.executed_by_snakemake() == set(), "the first report is in the run-cache"
    assert checkout.stale() == set()
    assert (checkout.root / "results/evaluate/again-s0/metrics.json").exists()
    assert "evaluate@again-s0" in checkout.run("weir", "clean")
    checkout.run("weir", "clean", "--remove")
    assert not (checkout.root / "results/evaluate/again-s0").exists()
    assert "again" not in (checkout.root / "dvc.lock").read_text()
    assert "nothing is left over" in checkout.run("weir", "clean")
    assert checkout.stale() == checkout.planned() == set()


LOOKS = ("-n", "-np", "--dry-run", "--dag", "--rulegraph", "--summary", "--list-changes=code")


@pytest.mark.parametrize("edited", [False, True])
def test_looking_changes_nothing(checkout: Checkout, edited: bool) -> None:
    if edited:
        checkout.edit("params.yaml", "  naive: {model", "  other: {model")
        checkout.edit("src/weir/stages/report.py", "snakemake --cores all", "snakemake --cores 2")
    never_recorded = checkout.root / "results/evaluate/mine/details/note.txt"
    never_recorded.parent.mkdir(parents=True)
    never_recorded.write_text("by hand")
    before = _contents(checkout.root)
    for option in LOOKS:
        checkout.snakemake(option)
    wanted = {"evaluate@other", "report@all"} if edited else set()
    assert checkout.planned() == wanted
    assert _contents(checkout.root) == before
    checkout.run("weir", "clean")
    checkout.run("weir", "plan", "--check", ok=not edited)
    assert _contents(checkout.root) == before
    assert checkout.executed_by_snakemake() == wanted
    assert never_recorded.read_text() == "by hand"
    assert "mine" not in (checkout.root / "results/report/all.html").read_text()


def _contents(root: Path) -> dict[str, bytes]:
    """All files but what the engines and Weir keep for themselves."""
    own = (".snakemake", ".weir", ".dvc/tmp", ".snakemake_timestamp", "__pycache__")
    return {
        str(path.relative_to(root)): path.read_bytes()
        for path in root.rglob("*")
        if path.is_file() and not any(part in str(path.relative_to(root)) for part in own)
    }


def test_two_runs_from_nothing_are_recorded_alike(untouched: Checkout, tmp_path: Path) -> None:
    """Whenever, wherever and at whatever commit: git is clean after a run, also of the page."""
    other = untouched.copy(tmp_path / "elsewhere")
    untouched.snakemake()
    shutil.copy(untouched.root / "dvc.lock", other.root / "dvc.lock")
    other.run("git", "add", "dvc.lock")
    other.run("git", "commit", "--quiet", "--message=Recorded elsewhere")
    assert other.executed_by_snakemake() == STAGES
    assert other.run("git", "status", "--porcelain") == ""
    records = [
        {path.relative_to(checkout.root): path.read_text() for path in found}
        for checkout in (untouched, other)
        if (found := sorted((checkout.root / "results/provenance").rglob("*.js*")))
    ]
    assert list(records[0]) == list(records[1])
    assert all(records[0][path] != records[1][path] for path in records[0])
    page = (other.root / "results/report/all.html").read_text()
    assert other.run("git", "rev-parse", "HEAD").strip() not in page


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
