"""Scores of risks against closed forms, their intervals, and subgroups told apart or refused."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.metrics import precision_recall_curve, roc_auc_score, roc_curve
from stored import stored
from torch import nn

from weir.errors import UserError, WeirError
from weir.metrics.classification import calibration_error
from weir.tasks.clinical.data.load import ClinicalData
from weir.tasks.clinical.data.records import Records
from weir.tasks.clinical.evaluation.evaluate import evaluate
from weir.tasks.clinical.evaluation.risks import (
    ALL,
    Risks,
    bins_of,
    calibration_gap,
    diagram,
    fitted_temperature,
    operating,
    scored,
    subgroups,
)
from weir.tasks.clinical.settings.scoring import ClinicalEvaluate


class Told(nn.Module):
    """Logit of the outcome, turned the wrong way for records with many sets."""

    def __init__(self, size: float = 1.0) -> None:
        super().__init__()
        self.size = size

    def risk(self, records: Records) -> torch.Tensor:
        sets = torch.bincount(records.set_record, minlength=len(records.outcome))
        return self.size * (2 * records.outcome - 1) * torch.where(sets % 3 == 0, -1.0, 1.0)


class Constant(Told):
    def risk(self, records: Records) -> torch.Tensor:
        return torch.full_like(records.outcome, self.size)


def settings(**change: Any) -> ClinicalEvaluate:
    base = {"model": "stage2/head", "bootstrap": 40, "bins": 4, "min_positives": 2}
    return ClinicalEvaluate(**(base | change))


def risks(logit: torch.Tensor, outcome: torch.Tensor) -> Risks:
    return Risks(logit.double(), outcome.double(), torch.arange(len(logit)), 0.0)


def run(model: nn.Module, data: ClinicalData, tmp_path: Path, **change: Any) -> dict[str, Any]:
    return stored(evaluate(model, data, settings(**change), seed=1, label="it"), tmp_path)


def test_scores_of_all_records(tiny_clinical: ClinicalData, tmp_path: Path) -> None:
    """A risk that says yes or no with one strength, and is wrong for a third of the records."""
    found = run(Told(2.0), tiny_clinical, tmp_path)
    test = tiny_clinical.split("test")
    outcome, wrong = test.outcome, test.sets % 3 == 0
    p = 1 / (1 + math.exp(-2))
    right = float((~wrong).double().mean())
    metrics = found["metrics"]
    assert metrics["accuracy"] == pytest.approx(right)
    assert metrics["brier"] == pytest.approx(right * (1 - p) ** 2 + (1 - right) * p**2)
    assert metrics["nll"] == pytest.approx(-right * math.log(p) - (1 - right) * math.log(1 - p))
    said = torch.where(wrong, 1 - outcome, outcome)
    assert metrics["auroc"] == pytest.approx(roc_auc_score(outcome, said))
    assert found["headline"] == "auroc" and set(metrics) == set(found["definitions"])
    assert found["protocol"]["records"] == len(test)
    assert found["protocol"]["positives"] == int(outcome.sum())
    table = pd.read_parquet(tmp_path / "details" / "scores.parquet")
    assert list(table["metric"]) == list(metrics)
    assert (table["low"] <= table["value"]).sum() >= 5 and (table["low"] <= table["high"]).all()
    curve = pd.read_csv(tmp_path / "curve.csv")
    assert list(curve) == ["predicted", "observed"]
    saved = {p.stem for p in (tmp_path / "details").glob("*.parquet")}
    assert saved == {"scores", "subgroups", "reliability", "roc", "precision_recall", "risks"}
    one = pd.read_parquet(tmp_path / "details" / "risks.parquet")
    assert np.allclose(one["risk"], np.where(said == 1, p, 1 - p), atol=1e-6)


def test_intervals_are_those_of_a_share() -> None:
    """Accuracy is a share, whose interval is about 1.96 standard errors wide on each side."""
    outcome = torch.arange(400) % 2
    logit = torch.where(torch.arange(400) % 5 == 0, -1.0, 1.0) * (2 * outcome - 1)
    found = scored(risks(logit, outcome), bins_of(logit, 4), ("accuracy", "brier"), 2000, 3)
    half = 1.96 * math.sqrt(0.8 * 0.2 / 400)
    assert found[0]["value"] == pytest.approx(0.8)
    assert found[0]["low"] == pytest.approx(0.8 - half, abs=0.006)
    assert found[0]["high"] == pytest.approx(0.8 + half, abs=0.006)


def test_subjects_are_drawn_whole() -> None:
    """Ten records of each subject that all say the same: the interval is that of the subjects."""
    outcome = (torch.arange(400) // 10) % 2
    right = (torch.arange(400) // 20) % 2
    logit = (2.0 * right - 1) * (2 * outcome - 1)
    together = Risks(logit.double(), outcome.double(), torch.arange(400) // 10, 0.0)
    bins = bins_of(logit, 2)
    whole = scored(together, bins, ("accuracy",), 2000, 0)[0]
    alone = scored(risks(logit, outcome), bins, ("accuracy",), 2000, 0)[0]
    ratio = (whole["high"] - whole["low"]) / (alone["high"] - alone["low"])
    assert ratio == pytest.approx(math.sqrt(10), rel=0.1)


def test_pieces_of_resamples_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    logit, outcome = torch.randn(50), (torch.arange(50) % 3 == 0).float()
    names = ("auroc", "auprc", "nll", "calibration_error")
    bins = bins_of(logit, 5)
    whole = scored(risks(logit, outcome), bins, names, 30, 0)
    monkeypatch.setattr("weir.tasks.clinical.evaluation.risks.PIECE", 170)
    for line, other in zip(scored(risks(logit, outcome), bins, names, 30, 0), whole, strict=True):
        assert line == pytest.approx(other)


def test_calibration_gap_is_the_calibration_error() -> None:
    p = torch.rand(97, dtype=torch.float64)
    outcome = (torch.rand(97) < p).double()
    bins = bins_of(p, 7)
    ones = torch.ones(1, 97, dtype=torch.float64)
    assert calibration_gap(p, outcome, bins, ones)[0] == pytest.approx(
        float(calibration_error(p, outcome, 7))
    )
    # Weights are repetitions, in bins that stay.
    weight = torch.randint(0, 3, (1, 97), dtype=torch.float64)
    often = torch.arange(97).repeat_interleave(weight[0].long())
    again = bins._replace(number=bins.number[often])
    assert calibration_gap(p, outcome, bins, weight)[0] == pytest.approx(
        float(calibration_gap(p[often], outcome[often], again, torch.ones(1, len(often)))[0])
    )


def test_the_diagram_has_wilsons_interval() -> None:
    """10 of 50: .112 to .330 (Wilson 1927)."""
    outcome = (torch.arange(100) % 5 == 0).double()
    risk = torch.where(torch.arange(100) < 50, 0.1, 0.3).double()
    table = diagram(risk, outcome, bins_of(risk, 2))
    assert table["predicted"].tolist() == pytest.approx([0.1, 0.3])
    assert table["observed"].tolist() == pytest.approx([0.2, 0.2])
    assert table["records"].tolist() == [50, 50]
    assert table["low"].tolist() == pytest.approx([0.112, 0.112], abs=5e-4)
    assert table["high"].tolist() == pytest.approx([0.330, 0.330], abs=5e-4)


def test_curves_are_scikit_learns() -> None:
    generator = torch.Generator().manual_seed(0)
    outcome = (torch.rand(200, generator=generator) < 0.3).double()
    logit = (torch.randn(200, generator=generator) + outcome).mul(5).round() / 5
    weights = torch.ones(3, 200, dtype=torch.float64), torch.arange(200)
    found = operating(logit, outcome, weights)
    rate, sensitivity, _ = roc_curve(outcome, logit, drop_intermediate=False)
    roc = found["roc"]
    assert np.allclose(roc["sensitivity"], np.interp(roc["false_positive_rate"], rate, sensitivity))
    assert roc["sensitivity"].iloc[-1] == 1
    assert np.allclose(roc["low"], roc["sensitivity"]) and np.allclose(roc["high"], roc["low"])
    precision, recall, _ = precision_recall_curve(outcome, logit, drop_intermediate=False)
    for x, y in found["precision_recall"][["recall", "precision"]].to_numpy():
        met = recall >= x - 1e-12
        # The strictest threshold that reaches the recall.
        assert y == pytest.approx(precision[met][-1])


def test_temperature_undoes_a_scale() -> None:
    generator = torch.Generator().manual_seed(0)
    logit = torch.randn(20_000, generator=generator, dtype=torch.float64)
    outcome = (torch.rand(20_000, generator=generator) < logit.sigmoid()).double()
    for scale in (0.5, 1.0, 3.0):
        assert fitted_temperature(scale * logit, outcome) == pytest.approx(scale, rel=0.06)
    exact = fitted_temperature(3 * logit, outcome) / fitted_temperature(logit, outcome)
    assert exact == pytest.approx(3, rel=1e-6)
    assert fitted_temperature(logit, torch.ones_like(logit)) == 1
    assert fitted_temperature(torch.zeros(4), torch.tensor([0.0, 1, 0, 1])) == 1


def test_recalibration_keeps_the_ranking_and_is_told(tiny_clinical, tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
    plain = run(Told(9.0), tiny_clinical, tmp_path / "a")
    fixed = run(Told(9.0), tiny_clinical, tmp_path / "b", calibrate="temperature")
    assert fixed["metrics"]["auroc"] == plain["metrics"]["auroc"]
    assert fixed["metrics"]["nll"] < plain["metrics"]["nll"]
    validation = tiny_clinical.split("validation")
    right = float((validation.sets % 3 != 0).double().mean())
    best = math.log(right / (1 - right))
    assert 9 / fixed["metrics"]["temperature"] == pytest.approx(best, rel=1e-3)
    assert "temperature" not in plain["metrics"]
    assert plain["protocol"]["recalibrated"] == "no"
    assert "validation" in fixed["protocol"]["recalibrated"]


def test_subgroups_have_numbers_or_a_reason(tiny_clinical: ClinicalData) -> None:
    test = tiny_clinical.split("test")
    logit = Told().risk(test.batch(torch.arange(len(test))))
    lines = pd.DataFrame(subgroups(risks(logit, test.outcome), test, settings(), 0))
    whole = lines[lines["subgrouping"] == ALL]
    assert (whole["records"] == len(test)).all()
    for name in ("sex", "age"):
        rows = lines[(lines["subgrouping"] == name) & (lines["metric"] == "auroc")]
        assert rows["records"].sum() == len(test)
        assert rows["positives"].sum() == int(test.outcome.sum())
    number, groups = test.subgroup("sex")
    for k, group in enumerate(groups):
        of = number == k
        line = lines[(lines["group"] == group) & (lines["metric"] == "auroc")]
        if not of.any():
            assert line.empty
            continue
        assert line["value"].item() == pytest.approx(roc_auc_score(test.outcome[of], logit[of]))
        assert line["low"].item() <= line["value"].item() <= line["high"].item()
    strict = pd.DataFrame(
        subgroups(risks(logit, test.outcome), test, settings(min_positives=1000), 0)
    )
    small = strict[strict["subgrouping"] != ALL]
    assert small["value"].isna().all() and small["note"].str.contains("too few: ").all()
    assert strict[strict["subgrouping"] == ALL]["value"].notna().all()


def test_a_constant_risk_is_chance(tiny_clinical: ClinicalData, tmp_path: Path) -> None:
    found = run(Constant(-1.0), tiny_clinical, tmp_path)["metrics"]
    assert found["auroc"] == 0.5
    assert found["auprc"] == pytest.approx(float(tiny_clinical.split("test").outcome.mean()))


def test_what_cannot_be_scored_is_told(tiny_clinical: ClinicalData, tmp_path: Path) -> None:
    for k, size in enumerate((float("nan"), float("inf"))):
        (tmp_path / str(k)).mkdir()
        with pytest.raises(WeirError, match="risks are NaN or infinite"):
            run(Constant(size), tiny_clinical, tmp_path / str(k))
    well = tiny_clinical.table.outcome * 0
    healthy = ClinicalData(
        tiny_clinical.store,
        type(tiny_clinical.table)(**(vars(tiny_clinical.table) | {"outcome": well})),
        tiny_clinical.part,
        tiny_clinical.schema,
        tiny_clinical.folder,
    )
    (tmp_path / "c").mkdir()
    with pytest.raises(UserError, match="0 of them with the outcome"):
        run(Told(), healthy, tmp_path / "c")
    (tmp_path / "d").mkdir()
    with pytest.raises(UserError, match="neither predicts"):
        run(nn.Identity(), tiny_clinical, tmp_path / "d")
