"""Whole evaluations of responders whose answers are known."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from stored import stored
from torch import Tensor, nn

from weir.artifacts.evaluation import load_evaluation
from weir.errors import WeirError
from weir.tasks.perturb.baselines import build
from weir.tasks.perturb.baselines.pools import balanced_indices
from weir.tasks.perturb.data.cells import Cells
from weir.tasks.perturb.data.load import PerturbData
from weir.tasks.perturb.evaluation.definitions import DEFINITIONS
from weir.tasks.perturb.evaluation.evaluate import evaluate
from weir.tasks.perturb.evaluation.generation import generate
from weir.tasks.perturb.evaluation.scores import Examiner, pool, score, summarise_cells
from weir.tasks.perturb.flow.responder import Generated
from weir.tasks.perturb.representation.cell_code import log_normalise
from weir.tasks.perturb.settings.scoring import PerturbEvaluate


class Known(nn.Module):
    """Hands out the given cells, again and again."""

    def __init__(self, counts: Tensor, scale: float) -> None:
        super().__init__()
        self.counts, self.scale = counts, scale
        self.asked: list[tuple[Any, ...]] = []

    def respond(self, sources: Cells, target: Tensor, **options: Any) -> Generated:
        options.pop("generator")
        self.asked.append((target[0].tolist(), options))
        origin = torch.arange(len(target)) % len(self.counts)
        counts = self.counts[origin]
        return Generated(log_normalise(counts, counts.sum(1), self.scale), counts, origin)

    def nfe(self, steps: int | None = None, solver: str | None = None) -> int:
        return 3 * (steps or 1)


def config(**more: Any) -> PerturbEvaluate:
    return PerturbEvaluate(**{"model": "baseline/known", "samples": 60, **more})


def run(
    model: nn.Module, data: PerturbData, folder: Path, settings: PerturbEvaluate | None = None
) -> dict[str, Any]:
    return stored(evaluate(model, data, settings or config(), seed=0, label="test"), folder)


@pytest.fixture(scope="module")
def truth(tiny_perturb: PerturbData) -> Known:
    cells = tiny_perturb.responses("test")[0].truth
    counts = cells.batch(torch.arange(len(cells))).counts
    return Known(counts, tiny_perturb.schema.scale)


def test_the_truth_itself_scores_perfectly(
    truth: Known, tiny_perturb: PerturbData, tmp_path: Path
) -> None:
    found = run(truth, tiny_perturb, tmp_path, config(samples=len(truth.counts)))["metrics"]
    perfect = ("pearson_delta", "pearson_delta_perturbed", "r2_mean", "r2_variance")
    for name in (*perfect, "discrimination", "de_overlap"):
        assert found[name] == pytest.approx(1, abs=1e-6)
    # Each true cell is at distance 0 of itself: -2 / n of a mean distance.
    assert -1 < found["energy_distance"] < 0


def test_no_change_has_no_delta_but_the_controls_variance(
    tiny_perturb: PerturbData, tmp_path: Path
) -> None:
    model = build("no_change", tiny_perturb.schema.scale).fit(tiny_perturb)
    response = tiny_perturb.responses("test")[0]
    found = run(model, tiny_perturb, tmp_path, config(samples=3 * len(response.sources)))
    # Every source exactly three times: the mean is that of the controls, and tells nothing.
    assert abs(found["metrics"]["pearson_delta"]) < 0.5
    genes = pd.read_parquet(tmp_path / "details" / "genes.parquet")
    np.testing.assert_allclose(genes["predicted_mean"], genes["control_mean"], atol=1e-5)
    assert found["metrics"]["energy_distance"] > 1
    assert found["protocol"]["estimand"] == "edit"


def test_split_half_is_close_to_the_truth(tiny_perturb: PerturbData, tmp_path: Path) -> None:
    model = build("split_half", tiny_perturb.schema.scale).fit(tiny_perturb)
    ceiling = run(model, tiny_perturb, tmp_path)["metrics"]
    floor = run(build("no_change", tiny_perturb.schema.scale), tiny_perturb, tmp_path)["metrics"]
    assert ceiling["pearson_delta"] > 0.7
    assert ceiling["energy_distance"] < 0.3 * floor["energy_distance"]


@pytest.mark.parametrize("method", ["additive", "nearest_group", "linear", "perturbed_mean"])
def test_baselines_lie_between_floor_and_ceiling(
    method: str, tiny_perturb: PerturbData, tmp_path: Path
) -> None:
    model = build(method, tiny_perturb.schema.scale).fit(tiny_perturb)
    found = run(model, tiny_perturb, tmp_path)["metrics"]
    assert 0.5 < found["pearson_delta"] < 1
    assert found["energy_distance"] < 5
    # The training groups are as close to the truth as two samples of one law: no ratio to them.
    assert set(found) == set(DEFINITIONS) - {
        "mmd_ratio",
        "counterfactual_error",
        "counterfactual_error_cells",
        "nll",
        "reconstruction",
        "batch_auc",
        "batch_auc_expression",
        "cell_type_accuracy",
    }


def test_copying_the_nearest_group_has_ratio_one(tiny_perturb: PerturbData) -> None:
    """For a truth that differs from all training groups: the cells of another condition."""
    schema, pca = tiny_perturb.schema, tiny_perturb.pca
    response, train = tiny_perturb.responses("test")[0], tiny_perturb.split("train")
    other = train.subset(train.condition == 1)
    question = Examiner(tiny_perturb, "test").question(response, other)
    groups = [summarise_cells(group, schema.scale, pca) for group in response.neighbours]
    ratios = [score(question, group)["mmd_ratio"] for group in groups]
    assert min(ratios) == pytest.approx(1)
    assert score(question, summarise_cells(other, schema.scale, pca))["mmd_ratio"] < 0


def test_what_is_written_can_be_read(
    truth: Known, tiny_perturb: PerturbData, tmp_path: Path
) -> None:
    run(truth, tiny_perturb, tmp_path, config(model="stage2/known", quality_steps=[4, 2]))
    evaluation = load_evaluation(tmp_path / "details")
    assert [point["nfe"] for point in evaluation.quality_curve] == [3, 6, 12]
    assert evaluation.nfe == 3
    tables = evaluation.tables
    assert list(tables["responses"]["response"]) == ["T, two / A+B 1"]
    assert tables["responses"]["dose"].isna().all()
    assert tables["responses"]["pearson_delta"].iloc[0] == pytest.approx(1, abs=1e-6)
    assert len(tables["genes"]) == 40
    assert tables["genes"]["de"].sum() == 10
    assert set(tables["cells"]["kind"]) == {"true", "predicted", "control"}
    assert tables["violins"].groupby("kind")["gene"].nunique().tolist() == [6, 6, 6]
    assert "doses" not in tables
    curve = pd.read_csv(tmp_path / "curve.csv")
    np.testing.assert_allclose(curve["true_delta"], curve["predicted_delta"], atol=0.1)


def test_a_perturbation_with_two_doses_gets_a_curve(
    tiny_perturb: PerturbData, tmp_path: Path
) -> None:
    model = build("additive", tiny_perturb.schema.scale).fit(tiny_perturb)
    run(model, tiny_perturb, tmp_path, config(split="validation"))
    doses = pd.read_parquet(tmp_path / "details" / "doses.parquet")
    assert set(doses["perturbation"]) == {"A"}
    assert set(doses["dose"].round(6)) == {0.1, 1.0}
    wide = doses.pivot_table(index=["context", "kind"], columns="dose", values="response")
    assert (wide[1.0] > wide[0.1]).all()


def test_umap_is_there_when_asked_for(
    truth: Known, tiny_perturb: PerturbData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import sys
    from types import SimpleNamespace

    class Mirror:
        def __init__(self, **options: Any) -> None:
            assert options["random_state"] == 0

        def fit_transform(self, points: np.ndarray) -> np.ndarray:
            return -points[:, :2]

    monkeypatch.setitem(sys.modules, "umap", SimpleNamespace(UMAP=Mirror))
    run(truth, tiny_perturb, tmp_path, config(embedding="pca"))
    plain = pd.read_parquet(tmp_path / "details" / "cells.parquet")
    run(truth, tiny_perturb, tmp_path, config(embedding="umap"))
    shown = pd.read_parquet(tmp_path / "details" / "cells.parquet")
    np.testing.assert_array_equal(shown[["x", "y"]], -plain[["x", "y"]])


def test_sources_are_dealt_evenly(tiny_perturb: PerturbData, truth: Known) -> None:
    items = balanced_indices(7, 24, torch.Generator().manual_seed(0))
    assert sorted(items.bincount().tolist()) == [3, 3, 3, 3, 4, 4, 4]
    assert len(balanced_indices(7, 5, torch.Generator().manual_seed(0)).unique()) == 5
    response = tiny_perturb.responses("test")[0]
    truth.asked.clear()
    made = generate(
        truth, response.sources, torch.tensor([1.0, 2.0]), 9, torch.Generator(), estimand="edit"
    )
    assert truth.asked == [([1.0, 2.0], {"steps": None, "solver": None, "estimand": "edit"})]
    assert len(made.cells.expression) == 9


def test_a_diverged_model_is_an_error(tiny_perturb: PerturbData, tmp_path: Path) -> None:
    broken = Known(torch.full((3, 40), math.nan), 100.0)
    with pytest.raises(WeirError, match="60 of 60 generated cells of T, two / A\\+B 1 are NaN"):
        run(broken, tiny_perturb, tmp_path)


def test_ratios_are_pooled_by_their_median_and_the_rest_by_their_mean() -> None:
    scores = [
        {"mmd": 1.0, "mmd_ratio": 1.0, "r2_mean": math.nan},
        {"mmd": 2.0, "mmd_ratio": 9.0, "r2_mean": math.nan},
        {"mmd": 6.0, "mmd_ratio": 2.0, "r2_mean": math.nan},
    ]
    assert pool(scores) == {"mmd": 3.0, "mmd_ratio": 2.0}
