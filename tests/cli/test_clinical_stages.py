"""The stages of task clinical, run by hand on tiny simulated records."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from safetensors.numpy import load_file

from weir.cli import main


def document(ward: Path, run: str) -> dict:
    return json.loads((ward / "results/evaluate" / run / "details/evaluation.json").read_text())


def risks(ward: Path, run: str) -> np.ndarray:
    table = pd.read_parquet(ward / "results/evaluate" / run / "details/risks.parquet")
    return np.log(table["risk"] / (1 - table["risk"])).to_numpy()


def test_every_evaluation_is_finite_and_knows_its_kind(ward: Path) -> None:
    kinds = {
        "sets-s0": "stage1",
        "head-s0": "head",
        "flow-s0": "teacher",
        "boosting-s0": "baseline",
        "gru-s0": "baseline",
        "stacked-s0": "ensemble",
        "told-s0": "ensemble",
        "last": "baseline",
        "oracle": "ceiling",
        "seen": "ceiling",
    }
    for run, kind in kinds.items():
        found = document(ward, run)
        assert found["kind"] == kind
        assert all(np.isfinite(value) for value in found["metrics"].values())
        assert found["dataset"] == "ward"
        assert ("auroc" in found["metrics"]) == (run not in ("last", "flow-s0"))
    assert document(ward, "oracle")["metrics"]["auroc"] > 0.7


def test_stacked_is_built_on_the_head(ward: Path) -> None:
    """On a node of the second stage, whose weights it holds; half of it and half of boosting."""
    mean = (risks(ward, "head-s0") + risks(ward, "boosting-s0")) / 2
    assert risks(ward, "stacked-s0") == pytest.approx(mean, abs=1e-4)
    assert risks(ward, "told-s0") != pytest.approx(risks(ward, "boosting-s0"), abs=1e-4)
    whole = load_file(ward / "results/baseline/stacked-s0/model.safetensors")
    head = load_file(ward / "results/stage2/head-s0/model.safetensors")
    for name, values in head.items():
        assert np.array_equal(whole[f"model.{name}"], values)
    lineage = document(ward, "stacked-s0")["lineage"]
    assert set(lineage) == {"stage1", "stage2", "baseline", "evaluate"}


@pytest.mark.parametrize("run", ["stage2/head-s0", "baseline/stacked-s0", "baseline/gru-s0"])
def test_risks_of_a_folder_are_those_of_the_evaluation(
    ward: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    run: str,
) -> None:
    """On test records, read from the raw folder, by a model that knows no params.yaml."""
    expected = pd.read_parquet(ward / "data/processed/ward/records.parquet").query("part == 2")
    expected["prediction_time"] = pd.to_datetime(expected["prediction_time"], unit="us")
    times = tmp_path / "times.parquet"
    expected[["subject_id", "prediction_time"]].to_parquet(times)
    monkeypatch.chdir(tmp_path)
    words = ["risk", str(ward / "results" / run), str(ward / "data/raw/ward")]
    assert main([*words, "--times", str(times), "--output", "risks.parquet"]) == 0
    assert capsys.readouterr().out == "risks.parquet\n"
    found = pd.read_parquet(tmp_path / "risks.parquet")
    assert found["subject_id"].tolist() == expected["subject_id"].tolist()
    assert found["prediction_time"].tolist() == expected["prediction_time"].tolist()
    said = found["predicted_boolean_probability"]
    evaluated = risks(ward, run.partition("/")[2])
    assert np.log(said / (1 - said)).to_numpy() == pytest.approx(evaluated, abs=1e-4)
    assert sorted(f.name for f in tmp_path.iterdir()) == ["risks.parquet", "times.parquet"]


def test_synthetic_patients_are_a_folder_that_weir_reads(
    ward: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(ward)
    made = tmp_path / "made"
    words = ["synthesise", "results/stage2/flow-s0", "--records", "40", "--output", str(made)]
    assert main(words) == 0
    assert "synthetic patients, as MEDS" in capsys.readouterr().out
    said = json.loads((made / "metadata/dataset.json").read_text())
    assert said["synthetic"] is True and "outcomes are drawn" in said["made_by"]
    labels = pd.read_parquet(made / "tasks/in_hospital_mortality/0.parquet")
    assert len(labels) == 40 and labels["boolean_value"].isin([True, False]).all()
    assert main(["data", "add", str(made), "--name", "made", "--task", "clinical"]) == 0
    assert "in_hospital_mortality" in capsys.readouterr().out


HEAD, FLOW = "results/stage2/head-s0", "results/stage2/flow-s0"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["synthesise", HEAD], "stage2/head makes no records; name a flow"),
        (["synthesise", FLOW, "--records", "0"], "ask for at least one record"),
        (["synthesise", FLOW, "--steps", "0"], "--steps 0: take at least one step"),
        (["synthesise", FLOW, "--output", "no/made"], "--output no/made: there is no folder"),
        (["synthesise", FLOW, "--output", "results"], "results is not empty"),
        (["synthesise", "results/stage2/none-s0"], "config.json: cannot be read"),
        (["risk", "results/baseline/last", "data/raw/ward"], "baseline/last predicts no outcome"),
        (["risk", FLOW, "data/raw/ward"], "stage2/flow predicts no outcome"),
        (["risk", HEAD, "none"], "none: there is no such folder"),
        (["risk", HEAD, "results"], "results: it has no data/"),
        (["risk", HEAD, "data/raw/ward"], "no-times.parquet cannot be read as Parquet"),
        (["risk", HEAD, "data/raw/ward", "--output", "x.csv"], "name a .parquet file"),
    ],
)
def test_what_cannot_be_told_or_made_is_one_line(
    ward: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    words: list[str],
    said: str,
) -> None:
    monkeypatch.chdir(ward)
    command, *rest = words
    output = ["--output", str(tmp_path / "made.parquet")]
    times = ["--times", "no-times.parquet"] if command == "risk" else []
    assert main([command, *times, *output, *rest]) == 2
    error = capsys.readouterr().err
    assert said in error and error.count("\n") == 1
    assert not list(tmp_path.iterdir())
