"""Scores of a stage-1 model: its fit, and what its intrinsic latent knows."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import torch
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold, cross_val_predict
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import Tensor

from weir.artifacts.evaluation import Scored
from weir.metrics.latency import clock
from weir.tasks.perturb.data.cells import CellSet
from weir.tasks.perturb.evaluation.definitions import defined, ordered
from weir.tasks.perturb.evaluation.scores import spaced
from weir.tasks.perturb.evaluation.tables import CURVE, plane
from weir.tasks.perturb.representation.cell_code import log_normalise
from weir.tasks.perturb.representation.likelihood import nb_log_prob

if TYPE_CHECKING:
    from weir.tasks.perturb.data.load import PerturbData
    from weir.tasks.perturb.representation.cell_code import CellCode
    from weir.tasks.perturb.settings.scoring import PerturbEvaluate

CELLS = 2000
"""Cells that classifiers see, evenly spaced among those of training and validation."""
SHOWN = 1500
FOLDS = 3


@torch.no_grad()
def evaluate_latents(
    model: CellCode, data: PerturbData, config: PerturbEvaluate, *, seed: int
) -> Scored:
    """Score a stage-1 model; table `latent` (x, y, batch, cell_type).

    Its fit is the likelihood of counts, or what a code without counts gives back of expression.
    Batches are told apart on training and validation cells: the cells of a test split may all be
    of one batch.
    """
    schema, device = data.schema, data.table.library.device
    begun = clock(device)
    split = data.split(config.split)
    fit = "nll" if model.counted else "reconstruction"
    scores = {fit: nll(model, split, seed) if model.counted else reconstruction(model, split)}
    seconds = clock(device) - begun
    known = torch.cat([data.split("train").rows, data.split("validation").rows]).sort().values
    cells = CellSet(data.table, known[spaced(len(known), CELLS).to(known.device)])
    latent, points = [], []
    for _, batch in cells.all():
        latent.append(model.encode(batch).mean)
        expression = log_normalise(batch.counts, batch.library, schema.scale)
        points.append(data.pca.project(expression))
    z, x = (torch.cat(parts).float().cpu().numpy() for parts in (latent, points))
    batch, cell_type = cells.batch_code.cpu().numpy(), cells.cell_type_code.cpu().numpy()
    strata = cell_type * len(schema.conditions) + cells.condition.cpu().numpy()
    for name, features in (("batch_auc", z), ("batch_auc_expression", x)):
        scores[name] = separation(features, batch, strata, seed)
    scores["cell_type_accuracy"] = accuracy(z, cell_type, seed)
    found = {name: value for name, value in scores.items() if np.isfinite(value)}
    return Scored(
        headline=fit,
        metrics=ordered(found),
        definitions=defined(found),
        protocol={
            "split": config.split,
            "fold": schema.fold,
            "cells": len(split),
            "genes": len(schema.genes),
            "cells_classified": len(cells),
            "cross_validation": FOLDS,
        },
        nfe=1,
        latency_ms=1000 * seconds,
        seconds=seconds,
        # There is nothing generated to draw.
        curve=pd.DataFrame(columns=list(CURVE)),
        tables={"latent": _latent_table(z, batch, cell_type, data, config, seed)},
    )


def nll(model: CellCode, cells: CellSet, seed: int) -> float:
    """Negative log likelihood of a count, latents drawn from the posterior: mean in nats."""
    generator = torch.Generator(cells.rows.device).manual_seed(seed)
    total, counts = 0.0, 0
    for _, batch in cells.all():
        z_int, z_tech = model.encode(batch).sample(generator)
        rate = model.rate(z_int, z_tech, batch.batch, batch.library)
        log_prob = nb_log_prob(batch.counts, rate, model.theta)
        total -= float(log_prob.sum(dtype=torch.float64))
        counts += log_prob.numel()
    return total / max(counts, 1)


def reconstruction(model: CellCode, cells: CellSet) -> float:
    """Share of the variance of expression over all cells and genes that the code gives back."""
    if not len(cells):
        return float("nan")
    left, squares, sums = 0.0, 0.0, 0.0
    for _, batch in cells.all():
        posterior = model.encode(batch)
        decoded = model.decode(posterior.mean, posterior.tech_mean, batch.batch, batch.library)
        true = model.expression(batch).double()
        left = left + (decoded - true).square().sum()
        squares, sums = squares + true.square().sum(0), sums + true.sum(0)
    return float(1 - left / (squares - sums.square() / len(cells)).sum())


def separation(features: np.ndarray, label: np.ndarray, strata: np.ndarray, seed: int) -> float:
    """How well a classifier tells labels apart within strata: mean one-vs-rest AUC.

    Comparing cells of one stratum only keeps what a label's share of the strata would tell out.

    Args:
        features: `[cell, feature]`.
        label: `[cell]` int; 0 is unknown, and left out.
        strata: `[cell]` int.
        seed: of folds and classifier.

    Returns:
        NaN if fewer than two labels have enough cells.
    """
    keep = _common(label)
    if len(np.unique(label[keep])) < 2:
        return float("nan")
    features, label, strata = features[keep], label[keep], strata[keep]
    network = MLPClassifier(
        (32,), alpha=0.01, max_iter=60, learning_rate_init=0.005, random_state=seed
    )
    guesses = _cross_validated(network, features, label, seed, "predict_proba")
    areas = [
        within_auc(guesses[:, k], label == value, strata)
        for k, value in enumerate(np.unique(label))
    ]
    return float(np.nanmean(areas)) if np.isfinite(areas).any() else float("nan")


def within_auc(score: np.ndarray, positive: np.ndarray, strata: np.ndarray) -> float:
    """Chance that a positive cell scores above a negative one of its stratum; ties count half.

    Args:
        score: `[cell]`.
        positive: `[cell]` bool.
        strata: `[cell]` int.

    Returns:
        NaN where no stratum has both.
    """
    won = pairs = 0.0
    for stratum in np.unique(strata):
        here = strata == stratum
        above, below = score[here & positive], np.sort(score[here & ~positive])
        left, right = np.searchsorted(below, above), np.searchsorted(below, above, side="right")
        won += float((left + right).sum()) / 2
        pairs += len(above) * len(below)
    return won / pairs if pairs else float("nan")


def accuracy(features: np.ndarray, label: np.ndarray, seed: int) -> float:
    """Share of cells whose label a logistic regression finds; NaN with fewer than two labels."""
    keep = _common(label)
    if len(np.unique(label[keep])) < 2:
        return float("nan")
    linear = LogisticRegression(max_iter=200)
    guesses = _cross_validated(linear, features[keep], label[keep], seed, "predict")
    return float((guesses == label[keep]).mean())


def _common(label: np.ndarray) -> np.ndarray:
    """Cells of known labels with enough cells to be in every fold."""
    names, counts = np.unique(label, return_counts=True)
    return np.isin(label, names[(counts >= 2 * FOLDS) & (names > 0)])


def _cross_validated(
    classifier: Any, features: np.ndarray, label: np.ndarray, seed: int, method: str
) -> np.ndarray:
    folds = StratifiedKFold(FOLDS, shuffle=True, random_state=seed)
    whole = make_pipeline(StandardScaler(), classifier)
    with warnings.catch_warnings():
        # A fixed number of passes is meant; more would rather fit noise.
        warnings.simplefilter("ignore", ConvergenceWarning)
        return cross_val_predict(whole, features, label, cv=folds, method=method)


def _latent_table(
    z: np.ndarray,
    batch: np.ndarray,
    cell_type: np.ndarray,
    data: PerturbData,
    config: PerturbEvaluate,
    seed: int,
) -> pd.DataFrame:
    shown = spaced(len(z), SHOWN).numpy()
    centred = torch.from_numpy(z[shown] - z[shown].mean(axis=0))
    # The first principal plane of the latent itself.
    axes: Tensor = torch.linalg.svd(centred, full_matrices=False).Vh
    xy = plane((centred @ axes.T).numpy(), config.embedding, seed)
    batches = np.array(["unknown", *data.schema.batches])
    types = np.array(["unknown", *data.schema.cell_types])
    return pd.DataFrame(
        {
            "x": xy[:, 0],
            "y": xy[:, 1],
            "batch": batches[batch[shown]],
            "cell_type": types[cell_type[shown]],
        }
    )
