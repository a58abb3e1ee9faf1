"""Scores of stage 1 on latents whose contents are known."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from scipy import stats
from stored import stored

from weir.artifacts.evaluation import load_evaluation
from weir.tasks.perturb.data.load import PerturbData
from weir.tasks.perturb.evaluation.evaluate import evaluate
from weir.tasks.perturb.evaluation.latents import accuracy, nll, separation, within_auc
from weir.tasks.perturb.representation.nb_vae import NBVAE
from weir.tasks.perturb.settings.scoring import PerturbEvaluate


def test_area_under_the_curve_within_strata() -> None:
    score = np.array([0.9, 0.1, 0.5, 0.5, 9.0])
    positive = np.array([True, False, True, False, True])
    # one stratum: 0.9 beats both, 0.5 one and a half, 9 both: 5.5 of 6 pairs
    assert within_auc(score, positive, np.zeros(5)) == pytest.approx(5.5 / 6)
    # by stratum: 0.9 against 0.1, 0.5 against 0.5; the last has nobody to be compared with
    assert within_auc(score, positive, np.array([0, 0, 1, 1, 2])) == pytest.approx(0.75)
    assert np.isnan(within_auc(score, positive, np.arange(5)))


def test_batches_that_differ_by_composition_only_are_not_separated() -> None:
    """The latent tells the cell type, and batch one has most of type one."""
    random = np.random.default_rng(0)
    batch = random.integers(1, 3, 900)
    cell_type = np.where(random.random(900) < 0.85, batch, 3 - batch)
    z = np.stack([3.0 * cell_type, random.normal(size=900)], 1) + random.normal(size=(900, 2))
    assert separation(z, batch, np.zeros(900), 0) > 0.75
    assert abs(separation(z, batch, cell_type, 0) - 0.5) < 0.08
    leaking = np.column_stack([z, batch + 0.1 * random.normal(size=900)])
    assert separation(leaking, batch, cell_type, 0) > 0.95


def test_cell_types_are_found_where_they_are() -> None:
    random = np.random.default_rng(0)
    kind = random.integers(0, 3, 600)
    z = random.normal(size=(600, 4))
    assert abs(accuracy(z, kind, 0) - 0.5) < 0.1
    z[:, 0] += 8 * kind
    assert accuracy(z, kind, 0) > 0.98  # of types 1 and 2; 0 is unknown
    assert np.isnan(accuracy(z, np.ones(600, int), 0))


def test_negative_log_likelihood_is_scipys(tiny_perturb: PerturbData) -> None:
    cells = tiny_perturb.split("validation")
    share = torch.full((40,), 1 / 40)
    model = SimpleNamespace(
        encode=lambda batch: SimpleNamespace(sample=lambda generator: (None, None)),
        rate=lambda z_int, z_tech, batch, library: library[:, None] * share,
        theta=torch.full((40,), 2.0),
    )
    batch = cells.batch(torch.arange(len(cells)))
    mean = batch.library.numpy()[:, None] / 40
    expected = -stats.nbinom.logpmf(batch.counts.numpy(), 2.0, 2.0 / (2.0 + mean)).mean()
    assert nll(model, cells, 0) == pytest.approx(expected, rel=1e-5)


def test_a_stage_1_model_is_evaluated(tiny_perturb: PerturbData, tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = NBVAE(40, 2, tiny_perturb.schema.scale, d_int=3, d_tech=2, hidden=8).eval()
    config = PerturbEvaluate(model="stage1/vae")
    found = stored(evaluate(model, tiny_perturb, config, seed=0, label="test"), tmp_path)
    assert set(found["metrics"]) == {
        "nll",
        "batch_auc",
        "batch_auc_expression",
        "cell_type_accuracy",
    }
    assert found["metrics"]["batch_auc_expression"] > 0.6
    table = load_evaluation(tmp_path / "details").tables["latent"]
    assert set(table["batch"]) == {"one", "two"}
    assert set(table["cell_type"]) == {"B", "T"}
    assert list(pd.read_csv(tmp_path / "curve.csv").columns)[2:] == [
        "true_delta",
        "predicted_delta",
    ]
