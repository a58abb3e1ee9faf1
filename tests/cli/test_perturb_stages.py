"""Every stage of task perturb, run by hand on tiny simulated cells with two held-out groups."""

from __future__ import annotations

import json
from pathlib import Path

import anndata
import numpy as np
import pytest
import torch

import weir as package
from weir.cli import main


def document(dish: Path, run: str) -> dict:
    return json.loads((dish / "results/evaluate" / run / "details/evaluation.json").read_text())


def test_each_fold_holds_out_its_group_alone(dish: Path) -> None:
    for fold, name in enumerate(("type1", "type2")):
        data = dish / f"data/processed/dish-f{fold}"
        schema = json.loads((data / "schema.json").read_text())
        assert schema["fold"] == name
        assert document(dish, f"edit-f{fold}-s0")["fold"] == name
        cells = anndata.read_h5ad(dish / f"results/evaluate/edit-f{fold}-s0/details/cells.h5ad")
        assert set(cells.obs["cell_type"]) == {name}


def test_every_evaluation_says_its_estimand_and_is_finite(dish: Path) -> None:
    wanted = {
        "edit-f0-s0": "edit",
        "new-f0-s0": "population",
        "abduction-f0-s0": "edit",
        "onestep-f0-s0": "edit",
        "oracle-f0": "edit",
    }
    for run, estimand in wanted.items():
        found = document(dish, run)
        assert found["protocol"]["estimand"] == estimand
        assert all(np.isfinite(value) for value in found["metrics"].values())
        cells = anndata.read_h5ad(dish / f"results/evaluate/{run}/details/cells.h5ad")
        assert set(cells.obs["estimand"]) == {estimand}
        assert cells.layers["counts"].min() >= 0
    assert document(dish, "half-f0-s0")["kind"] == "ceiling"
    assert document(dish, "oracle-f0")["metrics"]["counterfactual_error"] < 1e-6
    assert "batch_auc" in document(dish, "vae-f1-s0")["metrics"]


def test_the_report_pools_the_folds(dish: Path) -> None:
    page = (dish / "results/report/index.html").read_text()
    for name in ("edit", "new", "abduction", "both", "onestep", "additive", "scgen", "oracle"):
        assert name in page
    assert "type1" in page and "type2" in page


def test_a_student_answers_in_one_call_from_its_folder_alone(dish: Path) -> None:
    from weir.tasks.perturb.data.load import load

    model = package.load(dish / "results/distill/onestep-f0-s0")
    data = load(dish / "data/processed/dish-f0")
    cells = data.split("train").subset(data.split("train").condition == 0).batch(torch.arange(6))
    assert model.nfe() == 1
    unchanged = model.respond(cells, torch.zeros(6, 2))
    assert torch.equal(unchanged.counts, cells.counts)
    assert model.respond(cells, torch.ones(6, 2)).counts.shape == cells.counts.shape


def test_prediction_of_what_was_not_measured(
    dish: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(dish)
    file = tmp_path / "made.h5ad"
    words = ["predict", "results/distill/onestep-f0-s0", "--output", str(file)]
    assert main([*words, "--perturb", "A=0.3+B=7", "--context", "type1", "--samples", "9"]) == 0
    assert anndata.read_h5ad(file).n_obs == 9
    for bad, problem in (
        (["--perturb", "C"], "there is no perturbation 'C'"),
        (["--perturb", "A=1", "--estimand", "population"], "only edits cells"),
        (["--perturb", "A=1", "--samples", "0"], "at least one cell"),
    ):
        capfd.readouterr()
        assert main([*words, *bad]) == 2
        (line,) = capfd.readouterr().err.splitlines()
        assert problem in line


def test_a_fold_must_be_named_and_exist(
    dish: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(dish)
    monkeypatch.setenv("WEIR_TRACKING", "off")
    for words in ("stage1 vae --seed 0", "stage1 vae --seed 0 --fold 2"):
        capfd.readouterr()
        assert main(words.split()) == 2
        assert "--fold must be one of" in capfd.readouterr().err
