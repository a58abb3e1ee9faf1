"""Evaluations of perturbed cells as the evaluate stage would leave them, made of noise."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pandas as pd

from weir.artifacts.evaluation import Evaluation, parse_evaluation
from weir.report.graph.nodes import PlanGraph

BETTER = {
    "pearson_delta": ("Pearson delta", "higher"),
    "energy_distance": ("energy distance", "lower"),
    "mmd_ratio": ("MMD ratio", "lower"),
    "r2_mean": ("R² of means", "higher"),
    "r2_variance": ("R² of variances", "higher"),
    "de_overlap": ("DE overlap", "higher"),
    "discrimination": ("discrimination", "higher"),
    "nll": ("negative log likelihood", "lower"),
    "batch_auc": ("batch AUC of z_int", 0.5),
    "batch_auc_expression": ("batch AUC of expression", 0.5),
    "cell_type_accuracy": ("cell type accuracy", "higher"),
}
# node: (kind, label, error between 0 and 1, NFE)
MODELS: dict[str, tuple[str, str, float, int | None]] = {
    "flow": ("teacher", "Flow, control to perturbed", 0.10, 50),
    "population": ("teacher", "Flow, noise to cells", 0.16, 50),
    "onestep": ("student", "One-step student", 0.11, 1),
    "joint": ("joint", "Joint training", 0.13, 50),
    "vae": ("stage1", "Autoencoder of counts", math.nan, None),
    "matching": ("baseline", "Matching mean", 0.17, None),
    "transfer": ("baseline", "Delta transfer in PCA", 0.2, None),
    "nothing": ("baseline", "No change", 1.0, None),
    "half": ("ceiling", "Split half of the truth", 0.04, None),
}
SHARED_BY_SEEDS = ("nothing", "half")
FOLDS = ("B cells", "CD14+ Monocytes", "CD4 T cells", "NK cells", "FCGR3A+ Monocytes")


def evaluations(
    folds: tuple[str, ...] = FOLDS,
    seeds: tuple[int, ...] = (0, 1),
    dataset: str = "kang",
    responses: int = 1,
    genes: int = 80,
    nodes: tuple[str, ...] = tuple(MODELS),
) -> list[Evaluation]:
    """Models of one data set, for all folds and seeds."""
    return [
        evaluation(node, None if node in SHARED_BY_SEEDS else seed, fold, dataset, responses, genes)
        for node in nodes
        for fold in folds
        for seed in (seeds[:1] if node in SHARED_BY_SEEDS else seeds)
    ]


def evaluation(
    node: str = "flow",
    seed: int | None = 0,
    fold: str = "",
    dataset: str = "kang",
    responses: int = 1,
    genes: int = 80,
    made: dict[str, pd.DataFrame] | None = None,
    **change: Any,
) -> Evaluation:
    """One evaluation with its tables."""
    kind, label, error, nfe = MODELS[node]
    name = f"{dataset}-{node}"
    words = [fold and f"f{FOLDS.index(fold)}", "" if seed is None else f"s{seed}"]
    metrics = scores(node, seed, fold)
    document = {
        "name": "-".join([name, *filter(None, words)]),
        "node": name,
        "seed": seed,
        "fold": fold or None,
        "task": "perturb",
        "dataset": dataset,
        "kind": kind,
        "label": label,
        "metrics": metrics,
        "definitions": {
            metric: {
                "label": BETTER[metric][0],
                "definition": "",
                "better": BETTER[metric][1],
                "pool": "median" if metric == "mmd_ratio" else "mean",
            }
            for metric in metrics
        },
        "protocol": {"split": "test", "fold": fold or None, "samples": 1000}
        | {
            "cells": 100 + 50 * len(fold),
            "estimand": "population" if kind == "teacher" else "edit",
        },
        "nfe": nfe,
        "latency_ms": None if nfe is None else 0.02 * nfe,
        "seconds": None if nfe is None else 0.5 * nfe,
        "quality_curve": [
            {"steps": n, "nfe": n, "seconds": 0.02 * n}
            | {
                "pearson_delta": 1 - (error + 0.2 / n),
                "energy_distance": 0.2 + 5 * (error + 0.1 / n),
            }
            for n in ((1, 2, 4) if kind == "student" else (1, 4, 10, 25, 50))
        ]
        if nfe
        else [],
    } | change
    return parse_evaluation(
        document, tables(node, seed, fold, responses, genes) if made is None else made
    )


def scores(node: str, seed: int | None, fold: str) -> dict[str, float]:
    kind, _, error, _ = MODELS[node]
    random = np.random.default_rng([*node.encode(), *fold.encode(), seed or 0])
    if kind == "stage1":
        auc = 0.56 + 0.02 * random.standard_normal()
        found = {"nll": 0.42, "batch_auc": auc, "batch_auc_expression": 0.9}
        return found | {"cell_type_accuracy": 0.93}
    error *= 1 + 0.05 * random.standard_normal()
    return {
        "pearson_delta": 1 - error if node != "nothing" else math.nan,
        "energy_distance": 0.2 + 5 * error,
        "mmd_ratio": 8 * error**2,
        "r2_mean": 1 - error**2,
        "r2_variance": 1 - 2 * error,
        "de_overlap": 1 - 1.5 * error,
        "discrimination": 1 - error / 2,
    }


def tables(
    node: str, seed: int | None, fold: str, responses: int, genes: int
) -> dict[str, pd.DataFrame]:
    """The tables beside the document; of a response they are the same truth for every model."""
    kind, _, error, _ = MODELS[node]
    losses = pd.DataFrame(
        {"step": range(0, 1000, 10), "train/loss": [2 / (n + 1) for n in range(100)]}
    )
    if kind == "stage1":
        return {"latent": latent(), "losses": losses}
    parts: dict[str, list[pd.DataFrame]] = {}
    for n in range(responses):
        group = fold or f"group {n % 4}"
        name = f"{group} / stim {n}" if responses > 1 else f"{group} / stim"
        for table, frame in response(name, group, error, genes, scores(node, seed, fold)).items():
            parts.setdefault(table, []).append(frame)
    found = {table: pd.concat(frames, ignore_index=True) for table, frames in parts.items()}
    return found | ({"losses": losses} if kind not in ("baseline", "ceiling") else {})


def response(
    name: str, group: str, error: float, genes: int, metrics: dict[str, float]
) -> dict[str, pd.DataFrame]:
    """Every table of one response."""
    truth = np.random.default_rng([*name.encode()])
    control = truth.gamma(0.4, 0.8, genes)
    shift = truth.normal(0, 0.05, genes) + (np.arange(genes) < 20) * truth.gamma(1.5, 1, genes)
    noise = truth.normal(0, 0.4, genes)
    predicted = (1 - error) * shift + error * noise * (np.abs(shift) + 0.1)
    means = control + np.maximum(shift, -control)
    frame = pd.DataFrame(
        {
            "response": name,
            "gene": [f"GENE{n}" for n in range(genes)],
            "control_mean": control,
            "true_mean": means,
            "predicted_mean": np.maximum(control + predicted, 0),
            "true_variance": 0.1 + 0.6 * means,
            "predicted_variance": (0.1 + 0.6 * means) * (1 - error) * np.exp(0.3 * noise),
            "de": np.arange(genes) < 20,
        }
    )
    middle = truth.normal(0, 1, 2)
    places = {"control": middle, "true": middle + np.array([4, 1])}
    places["predicted"] = middle + np.array([4 - 4 * error, 1])
    cells = [
        pd.DataFrame(truth.normal(place, 0.9, (300, 2)), columns=["x", "y"]).assign(
            response=name, kind=kind
        )
        for kind, place in places.items()
    ]
    values = [
        pd.DataFrame({"value": np.log1p(truth.poisson(level, 120))}).assign(
            response=name, gene=f"GENE{n}", kind=kind
        )
        for n in range(6)
        for kind, level in (("true", 3 + n), ("predicted", 3 + n - 3 * error), ("control", 0.5))
    ]
    at = np.array([0.0, 0.01, 0.1, 1.0, 10.0])
    hill = at / (at + 0.3)
    doses = [
        pd.DataFrame({"dose": at, "response": height * hill}).assign(
            perturbation="IFN-b", context=group, kind=kind
        )
        for kind, height in (("true", 1.0), ("predicted", 1 - error))
    ]
    responses = pd.DataFrame(
        [{"response": name, "context": group, "condition": "stim", "dose": None, "cells": 300}]
    ).assign(sources=400, **metrics)
    return {
        "responses": responses,
        "genes": frame,
        "cells": pd.concat(cells, ignore_index=True),
        "violins": pd.concat(values, ignore_index=True),
        "doses": pd.concat(doses, ignore_index=True),
    }


def latent(cells: int = 900) -> pd.DataFrame:
    """Three cell types, two batches that lie among each other."""
    random = np.random.default_rng(3)
    types = random.integers(3, size=cells)
    places = random.normal(0, 0.8, (cells, 2)) + np.array([[0, 0], [4, 1], [1, 4]])[types]
    table = pd.DataFrame(places, columns=["x", "y"])
    names = np.array(["B cells", "NK cells", "Monocytes"])
    return table.assign(
        batch=np.array(["donor 1", "donor 2"])[random.integers(2, size=cells)],
        cell_type=names[types],
    )


def plan() -> PlanGraph:
    """A graph with nothing in it."""
    return PlanGraph((), ())
