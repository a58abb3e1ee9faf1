"""The command line as a user meets it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from weir.cli import STAGES, main


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys, weir.cli\n"
        "try: weir.cli.main(['--help'])\n"
        "except SystemExit: pass\n"
        "heavy = {'torch', 'numpy', 'pandas', 'mlflow', 'pydantic', 'rich', 'dvc'}\n"
        "sys.exit(', '.join(heavy & set(sys.modules)) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert all(stage in done.stdout for stage in STAGES)


@pytest.mark.parametrize("words", [[], ["params"], ["stage1"], ["no-such"], ["data", "add"]])
def test_an_incomplete_command_line_shows_the_usage(words, capsys) -> None:
    with pytest.raises(SystemExit) as caught:
        main(words)
    assert caught.value.code == 2
    assert "usage: weir" in capsys.readouterr().err


def test_presets_are_listed_used_and_compared(weir, repository: Path) -> None:
    assert "etth1" in weir("params", "list").out
    outcome = weir("params", "use", "etth1")
    assert outcome.code == 0, outcome.err
    text = (repository / "config" / "etth1.yaml").read_text()
    assert (repository / "params.yaml").read_text() == text
    assert weir("params", "diff", "etth1").out == ""
    assert weir("plan", "--check").code == 0
    assert "datasets.river" in weir("params", "diff", "quickstart").out


def test_use_does_not_lose_uncommitted_edits(weir, repository: Path) -> None:
    params = repository / "params.yaml"
    params.write_text(params.read_text().replace("seeds:\n- 0", "seeds:\n- 7"))
    outcome = weir("params", "use", "etth1")
    assert outcome.code == 2
    assert outcome.err.splitlines() == [
        "weir: params.yaml: has uncommitted edits; commit them, or pass --force to lose them"
    ]
    assert "seeds:\n- 7" in params.read_text()
    assert weir("params", "use", "etth1", "--force").code == 0


def test_show_prints_every_setting_with_its_default(weir) -> None:
    assert "river-onestep" in weir("params", "show").out
    assert "training.clip: 1.0" in weir("params", "show", "stage1/river-itransformer").out
    outcome = weir("params", "show", "stage1/river-itransfomer")
    assert (outcome.code, outcome.out) == (2, "")
    assert "did you mean 'river-itransformer'?" in outcome.err


def test_a_changed_graph_is_noticed_and_a_changed_value_is_not(weir, repository: Path) -> None:
    params = repository / "params.yaml"
    assert weir("plan").code == 0
    params.write_text(params.read_text().replace("width: 64", "width: 32"))
    assert weir("plan", "--check").code == 0
    params.write_text(params.read_text().replace("seeds:\n- 0", "seeds:\n- 0\n- 1"))
    outcome = weir("plan", "--check")
    assert outcome.code == 2
    assert "out of step" in outcome.err and "`weir plan`" in outcome.err


def test_plan_removes_nothing_and_hides_from_reports_what_no_node_names(weir, repository) -> None:
    gone = repository / "results" / "evaluate" / "old-s0"
    gone.mkdir(parents=True)
    (repository / ".dvcignore").write_text("logs\n")
    assert weir("plan").code == 0
    assert gone.exists()
    lines = (repository / ".dvcignore").read_text().splitlines()
    assert lines[-1] == "logs" and "/results/evaluate/*" in lines
    assert "!/results/evaluate/river-naive" in lines
    assert "!/results/evaluate/old-s0" not in lines
    assert weir("plan").out == "workflow/plan.json: up to date\n"
    (repository / ".dvcignore").write_text("logs\n")
    assert ".dvcignore: out of step" in weir("plan", "--check").err


@pytest.mark.parametrize(
    "words",
    [
        ["plan"],
        ["data", "add", "series.csv", "--name", "mine", "--write"],
        ["params", "use", "kang", "--force"],
        ["stage2", "other-flow"],
        ["report", "other"],
        ["clean", "--remove"],
    ],
)
def test_another_file_of_settings_leaves_the_plan_alone(weir, repository: Path, words) -> None:
    weir("plan")
    plan, ignore = repository / "workflow/plan.json", repository / ".dvcignore"
    before = plan.read_text(), ignore.read_text()
    other = repository / "other.yaml"
    text = (repository / "params.yaml").read_text()
    other.write_text(text.replace("river", "other").replace("\n  index:", "\n  other:"))
    rows = "".join(f"2020-01-01 {hour:02}:00,{hour}\n" for hour in range(24)) * 1
    (repository / "series.csv").write_text(f"date,x\n{rows}")
    outcome = weir(*words, "--params", str(other))
    assert (plan.read_text(), ignore.read_text()) == before, outcome
    assert outcome.code in (0, 2) and "Traceback" not in outcome.err


def test_our_own_fault_is_code_1_and_debug_shows_where(weir, monkeypatch) -> None:
    monkeypatch.setattr("weir.commands.plan.run", lambda _: 1 / 0)
    outcome = weir("plan")
    assert outcome.code == 1
    assert outcome.err.splitlines() == [
        "weir: a fault of Weir: ZeroDivisionError: division by zero; add --debug for the traceback"
    ]
    assert "Traceback" in weir("plan", "--debug").err


def test_outside_a_repository(weir, tmp_path_factory, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path_factory.mktemp("elsewhere"))
    outcome = weir("plan")
    assert outcome.code == 2
    assert "no dvc.yaml here or above" in outcome.err


def test_own_data_is_described_and_added(weir, repository: Path) -> None:
    hours = [f"2024-01-{1 + h // 24:02d} {h % 24:02d}:00" for h in range(400)]
    rows = "\n".join(f"{hour},{h % 7},{h % 5}" for h, hour in enumerate(hours))
    Path("own.csv").write_text("when,a,b\n" + rows + "\n")
    outcome = weir("data", "add", "own.csv", "--name", "own")
    assert outcome.code == 0, outcome.err
    assert "time_column: when" in outcome.out
    before = (repository / "params.yaml").read_text()
    assert "datasets.own" in weir("data", "add", "own.csv", "--name", "own", "--write").out
    assert (repository / "params.yaml").read_text() != before
    assert "own" in weir("params", "show").out
    again = weir("data", "add", "own.csv", "--name", "own", "--write")
    assert again.code == 2 and "already" in again.err
    assert weir("fetch", "own").code == 0
    outcome = weir("preprocess", "own")
    assert outcome.code == 0, outcome.err
    assert (repository / "data" / "processed" / "own" / "schema.json").exists()


def test_data_that_cannot_be_used_is_not_written(weir, repository: Path) -> None:
    Path("short.csv").write_text("when,a\n2024-01-01,1\n2024-01-02,2\n2024-01-03,3\n")
    before = (repository / "params.yaml").read_text()
    assert "# not usable yet: " in weir("data", "add", "short.csv", "--name", "short").out
    outcome = weir("data", "add", "short.csv", "--name", "short", "--write")
    assert outcome.code == 2
    assert outcome.err.startswith("weir: short.csv: not usable yet: ")
    assert outcome.err.endswith("; nothing was written\n") and outcome.err.count("\n") == 1
    assert (repository / "params.yaml").read_text() == before


def test_doctor_names_what_is_amiss_and_how_to_mend_it(weir, monkeypatch, repository: Path) -> None:
    monkeypatch.setenv("WEIR_DATA_MIRROR", "/no/such/folder")
    outcome = weir("doctor")
    assert outcome.code == 2
    lines = [line for line in outcome.out.splitlines() if line.startswith("bad")]
    assert any("WEIR_DATA_MIRROR" in line for line in lines)
    assert any("dvc init" in line for line in lines)


@pytest.mark.parametrize(
    "words",
    [
        ["predict", "model", "--perturb", "A", "--output", "made.h5ad"],
        ["risk", "model", "meds", "--times", "times.parquet", "--output", "made.parquet"],
        ["synthesise", "model", "--output", "made"],
    ],
)
def test_a_command_of_another_task_is_refused_in_one_line(weir, monkeypatch, words) -> None:
    card = SimpleNamespace(task="image")
    monkeypatch.setattr("weir.commands.of_task.read_card", lambda _: card)
    outcome = weir(*words)
    assert (outcome.code, outcome.out) == (2, "")
    assert outcome.err.count("\n") == 1 and f"model: weir {words[0]} is of task" in outcome.err
    assert "this model of image; use `weir.load`" in outcome.err
