"""Evaluations: what a model can do decides what it is scored by."""

from __future__ import annotations

import math
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from clinical_models import stage1_model, stage1_settings
from stored import stored
from torch import nn

from weir.errors import UserError
from weir.tasks.clinical.baselines import build
from weir.tasks.clinical.data.load import ClinicalData, load
from weir.tasks.clinical.data.records import Records
from weir.tasks.clinical.evaluation.definitions import DEFINITIONS, HEADLINES
from weir.tasks.clinical.evaluation.evaluate import evaluate
from weir.tasks.clinical.evaluation.latents import plane
from weir.tasks.clinical.figures.figures import FAMILIES
from weir.tasks.clinical.representation.decoder import SetLaw
from weir.tasks.clinical.representation.seqsetvae import SetPosterior
from weir.tasks.clinical.settings.baseline import ClinicalBaseline
from weir.tasks.clinical.settings.scoring import ClinicalEvaluate
from weir.tasks.clinical.simulation.law import Ceiling, Law, save


class Known(nn.Module):
    """Two units: the sum of a set's values, and nothing; decodes the mean value of `c0`."""

    d_latent, has_head = 2, False

    def encode(self, records: Records) -> SetPosterior:
        total = torch.zeros(len(records.time)).index_add_(0, records.event_set, records.value)
        mean = torch.stack([total, torch.zeros_like(total)], 1)
        log_variance = torch.tensor([math.log(0.25), 0.0]).expand_as(mean)
        return SetPosterior(mean, log_variance)

    def decode(self, z: torch.Tensor) -> SetLaw:
        mean = torch.zeros(len(z), 9)
        mean[:, 1] = z[:, 0] / 2
        return SetLaw(torch.full_like(mean, math.log(0.5)), mean, torch.zeros_like(mean))

    def represent(self, records: Records) -> torch.Tensor:
        return torch.stack([records.outcome, records.end], 1)


def run(
    model: nn.Module, data: ClinicalData, tmp_path: Path, ref: str, **change: Any
) -> tuple[dict[str, Any], dict[str, pd.DataFrame]]:
    """Evaluate as the stage does, and read what it wrote."""
    config = ClinicalEvaluate(
        **({"model": ref, "bootstrap": 20, "bins": 4, "min_positives": 2, "samples": 4} | change)
    )
    found = stored(evaluate(model.eval(), data, config, seed=0, label="it"), tmp_path)
    assert (tmp_path / "curve.csv").read_text().startswith("predicted,observed")
    tables = {file.stem: pd.read_parquet(file) for file in tmp_path.glob("details/*.parquet")}
    return found, tables


def test_a_known_autoencoder(tiny_clinical: ClinicalData, tmp_path: Path) -> None:
    """All numbers by hand from the events."""
    found, tables = run(Known(), tiny_clinical, tmp_path, "stage1/known")
    test = tiny_clinical.split("test")
    batch = test.batch(torch.arange(len(test)))
    total = torch.zeros(len(batch.time)).index_add_(0, batch.event_set, batch.value).double()
    metrics = found["metrics"]
    assert found["headline"] == "reconstruction_gain" and "auroc" not in metrics
    kl = (total.square() + 0.25 - 1 - math.log(0.25)) / 2
    assert metrics["kl"] == pytest.approx(float(kl.mean()), rel=1e-4)
    assert metrics["active_units"] == 0.5
    assert 0 < metrics["mutual_information"] < math.log(len(total))
    c0 = 1 + [code.name for code in tiny_clinical.schema.codes].index("c0")
    assert c0 == 1
    said = torch.where(batch.code == c0, total[batch.event_set] / 2, 0.0)
    squares = (said - batch.value).square()[batch.measured]
    plain = batch.value.double().square()[batch.measured]
    gain = 1 - squares.sum() / plain.sum()
    assert metrics["reconstruction_gain"] == pytest.approx(float(gain), rel=1e-4)
    assert metrics["reconstruction_rmse"] == pytest.approx(float(squares.mean().sqrt()), rel=1e-4)
    # The representation holds the outcome itself.
    assert metrics["probe_auroc"] == 1
    codes = tables["codes"].set_index("code")
    counts = batch.code.bincount(minlength=9)[1:]
    assert codes["seen"].tolist() == counts.tolist()
    assert codes["expected"].tolist() == pytest.approx([len(total) / 2] * 8)
    one = batch.code == c0
    sd = tiny_clinical.schema.codes[0].sd
    rmse = (said - batch.value)[one].square().mean().sqrt() * sd
    assert codes.loc["c0", "rmse"] == pytest.approx(float(rmse), rel=1e-4)
    assert codes["rmse"].isna().tolist() == [
        code.values == 0 for code in tiny_clinical.schema.codes
    ]
    units = tables["units"]
    assert units["unit"].tolist() == [0, 1] and units["active"].tolist() == [True, False]
    assert units["variance_of_mean"][0] == pytest.approx(float(total.var(correction=0)), rel=1e-4)
    pairs = tables["latent_correlation"].set_index(["unit", "other"])["correlation"]
    assert pairs[0, 0] == pytest.approx(1) and pairs[0, 1] == 0
    assert len(tables["latent"]) == len(test)


def test_counts_are_scored_by_poissons_law(tiny_clinical: ClinicalData, tmp_path: Path) -> None:
    found, _ = run(Known(), tiny_clinical, tmp_path, "stage1/known", split="validation")
    validation = tiny_clinical.split("validation")
    batch = validation.batch(torch.arange(len(validation)))
    counts = torch.zeros(len(batch.time), 9).index_put_(
        (batch.event_set, batch.code), torch.ones(len(batch.code)), accumulate=True
    )
    law = torch.distributions.Poisson(torch.full_like(counts[:, 1:], 0.5))
    expected = -law.log_prob(counts[:, 1:]).sum(1).mean()
    assert found["metrics"]["code_nll"] == pytest.approx(float(expected), rel=1e-4)


@pytest.mark.parametrize("weight", [0.0, 1.0])
def test_a_first_stage_is_scored_by_all_that_it_does(
    tiny_clinical: ClinicalData, tmp_path: Path, weight: float
) -> None:
    model = stage1_model(tiny_clinical, stage1_settings(outcome={"weight": weight}))
    found, tables = run(model, tiny_clinical, tmp_path, "stage1/sets")
    assert ("auroc" in found["metrics"]) == ("scores" in tables) == (weight > 0)
    assert {"kl", "active_units", "probe_auroc"} <= set(found["metrics"])
    assert found["headline"] == ("auroc" if weight else "reconstruction_gain")
    # What other models do not do is no part of the protocol that is compared.
    assert ("sets" in found["protocol"]) == (weight == 0)
    assert list(found["families"]) == (["Risk", "Encoding"] if weight else ["Encoding"])
    assert found["families"]["Encoding"]["protocol"]["sets"] > 0


@pytest.mark.parametrize("method", ["mean_by_hour", "last_value"])
def test_models_that_fill_in(tiny_clinical: ClinicalData, tmp_path: Path, method: str) -> None:
    config = ClinicalBaseline(method=method, dataset="tiny", grid={"bins": 6})
    model = build(config, tiny_clinical.schema)
    model.fit(tiny_clinical, 0)
    found, tables = run(model, tiny_clinical, tmp_path, f"baseline/{method.replace('_', '-')}")
    assert found["headline"] == "fill_crps" and "auroc" not in found["metrics"]
    assert set(FAMILIES["Filling in and forecasting"]) <= set(found["metrics"])
    assert "filled" in tables


def test_no_head_is_called_a_teacher(tiny_clinical: ClinicalData, tmp_path: Path) -> None:
    model = stage1_model(tiny_clinical, stage1_settings())
    assert run(model, tiny_clinical, tmp_path, "stage2/head")[0]["kind"] == "head"
    config = ClinicalBaseline(
        method="stacked",
        model="stage1/sets",
        boosting={"trees": 2, "leaves": 3, "min_leaf": 5},
    )
    stacked = build(config, tiny_clinical.schema, model)
    stacked.fit(tiny_clinical, 0)
    (tmp_path / "b").mkdir()
    assert run(stacked, tiny_clinical, tmp_path / "b", "baseline/b")[0]["kind"] == "ensemble"


def test_an_oracle_needs_a_law(tiny_clinical: ClinicalData) -> None:
    oracle = build(ClinicalBaseline(method="oracle", dataset="tiny"), tiny_clinical.schema)
    with pytest.raises(UserError, match="known only of a simulated dataset"):
        oracle.fit(tiny_clinical, 0)


@pytest.mark.parametrize("knows", ["severity", "events"])
def test_an_oracle_tells_each_record_its_own_risk(
    tiny_clinical: ClinicalData, tmp_path: Path, knows: str
) -> None:
    """The law is kept in another order than the records."""
    folder = tmp_path / "simulated"
    shutil.copytree(tiny_clinical.folder, folder)
    names = tiny_clinical.identity
    order = np.argsort(names["subject_id"].to_numpy())
    outcome = tiny_clinical.table.outcome.double()
    test = tiny_clinical.part == 2
    risk = 0.2 + 0.6 * outcome
    filtered = torch.where(test, 0.3 + 0.4 * outcome, float("nan"))
    save(
        folder,
        Law(risk[order], filtered[order], torch.zeros(len(risk), 2), 1.0, Ceiling(0.9, 0.8)),
        names["subject_id"].to_numpy()[order],
        names["prediction_time"].to_numpy()[order],
        {},
    )
    data = load(folder)
    config = ClinicalBaseline(method="oracle", dataset="tiny", knows=knows)
    oracle = build(config, data.schema)
    oracle.fit(data, 0)
    (tmp_path / "a").mkdir()
    found, _ = run(oracle, data, tmp_path / "a", "baseline/oracle")
    assert found["metrics"]["auroc"] == 1 and found["nfe"] == 0
    likely = 0.8 if knows == "severity" else 0.7
    assert found["metrics"]["nll"] == pytest.approx(-math.log(likely))
    if knows == "events":
        (tmp_path / "b").mkdir()
        with pytest.raises(UserError, match="known of the test split only"):
            run(oracle, data, tmp_path / "b", "baseline/oracle", split="validation")


def test_planes() -> None:
    """The principal plane of two columns is those, turned; UMAP of many points is some plane."""
    generator = torch.Generator().manual_seed(0)
    points = torch.randn(40, 5, generator=generator).double()
    points[:, 2:] = 0
    flat = plane(points, "pca", 0)
    scaled = (points - points.mean(0))[:, :2] / points.std(0, correction=0)[:2]
    assert np.allclose(flat @ flat.T, (scaled @ scaled.T).numpy())
    assert plane(points[:, :1], "pca", 0).shape == (40, 2)
    assert plane(points[:3], "umap", 0).shape == (3, 2)


def test_every_metric_of_a_table_is_defined() -> None:
    named = {name for names in FAMILIES.values() for name in names}
    assert named <= set(DEFINITIONS) and set(HEADLINES) <= set(DEFINITIONS)
    assert all(each.definition and each.label for each in DEFINITIONS.values())
