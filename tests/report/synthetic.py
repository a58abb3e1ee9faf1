"""Evaluations as the evaluate stage would leave them, made of a little noise and no model."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pandas as pd

from weir.artifacts.evaluation import Evaluation, parse_evaluation
from weir.report.graph.nodes import PlanGraph

DEFINITIONS: dict[str, dict[str, Any]] = {
    "mse": {
        "label": "MSE",
        "definition": "Squared error of the sample mean.",
        "scale": "standardised",
        "better": "lower",
    },
    "mae": {
        "label": "MAE",
        "definition": "Absolute error of the sample median.",
        "scale": "standardised",
        "better": "lower",
    },
    "crps": {
        "label": "CRPS",
        "definition": "Continuous ranked probability score, fair: E|X − y| − ½ E|X − X′|.",
        "scale": "standardised",
        "better": "lower",
    },
    "energy_score": {
        "label": "Energy score",
        "definition": "The CRPS of whole paths: E‖X − y‖ − ½ E‖X − X′‖ over horizon and variables.",
        "scale": "standardised",
        "better": "lower",
    },
    "coverage_50": {
        "label": "50 % coverage",
        "definition": "Share of truths inside the central half of the samples.",
        "scale": "share",
        "better": 0.5,
    },
    "coverage_90": {
        "label": "90 % coverage",
        "definition": "Share of truths inside the central 90 % of the samples.",
        "scale": "share",
        "better": 0.9,
    },
    "crps_day_mean": {
        "label": "Day-mean CRPS",
        "definition": "CRPS of the mean over each day.",
        "scale": "standardised",
        "better": "lower",
    },
}

# node: (kind, label, crps, coverage of 50 %, NFE, milliseconds)
MODELS: dict[str, tuple[str, str, float, float, int | None, float | None]] = {
    "flow": ("teacher", "Residual flow", 0.2805, 0.497, 50, 61.0),
    "onestep": ("student", "One-step student", 0.2816, 0.493, 1, 1.9),
    "onestep-mean": ("student", "Student matching means", 0.3294, 0.231, 1, 1.9),
    "joint": ("joint", "Joint training", 0.2869, 0.478, 50, 63.5),
    "itrans": ("stage1", "iTransformer backbone", math.nan, math.nan, 1, 0.4),
    "direct": ("teacher", "Starting point: UNet1D, x0, DDPM-1000", 0.4512, 0.334, 1000, 1840.0),
    "studentt": ("baseline", "Student-t head", 0.2853, 0.502, None, 0.5),
    "gaussian": ("baseline", "Backbone + train-residual Gaussian", 0.3104, 0.637, None, 0.5),
    "bootstrap": ("baseline", "Backbone + bootstrap", 0.3075, 0.518, None, 0.6),
    "dlinear": ("baseline", "DLinear", math.nan, math.nan, None, 0.1),
    "naive": ("baseline", "Seasonal naive", 0.4470, 0.420, None, 0.05),
    "oracle": ("ceiling", "Oracle", 0.2610, 0.500, None, None),
}
SHARED_BY_SEEDS = ("naive", "oracle")


def evaluations(
    dataset: str = "etth1", seeds: tuple[int, ...] = (0, 1, 2), task: str = "forecast"
) -> list[Evaluation]:
    """All models of one data set, for all seeds."""
    return [
        evaluation(node, None if node in SHARED_BY_SEEDS else seed, dataset, task)
        for node in MODELS
        for seed in (seeds[:1] if node in SHARED_BY_SEEDS else seeds)
    ]


def evaluation(
    node: str, seed: int | None = 0, dataset: str = "etth1", task: str = "forecast", **change: Any
) -> Evaluation:
    """One evaluation with all its tables."""
    document = document_of(node, seed, dataset, task) | change
    return parse_evaluation(document, tables_of(node, seed))


def document_of(node: str, seed: int | None, dataset: str, task: str) -> dict[str, Any]:
    """The contents of `evaluation.json`."""
    kind, label, crps, coverage, nfe, latency = MODELS[node]
    noise = 1 + 0.002 * np.random.default_rng([len(node), seed or 0]).standard_normal()
    name = f"{dataset}-{node}"
    probabilistic = math.isfinite(crps)
    level = crps if probabilistic else 0.31
    curve = [
        {
            "steps": steps,
            "nfe": 2 * steps if kind != "student" else steps,
            "seconds": 1.1 * (2 * steps if kind != "student" else steps) + 0.4,
            "crps": crps * noise * (1 + (0.22 if kind != "student" else 0.01) / steps**1.4),
            "energy_score": 39.4 * crps * noise * (1 + 0.2 / steps**1.2),
        }
        for steps in ((1, 2, 4) if kind == "student" else (1, 2, 4, 8, 16, 25))
    ]
    return {
        "name": name if seed is None else f"{name}-s{seed}",
        "node": name,
        "seed": seed,
        "task": task,
        "dataset": dataset,
        "kind": kind,
        "label": label,
        "metrics": {
            "mse": 1.32 * level * noise,
            "mae": 1.38 * level * noise,
            "crps": crps * noise if probabilistic else None,
            "energy_score": 39.4 * crps * noise if probabilistic else None,
            "coverage_50": coverage * noise if probabilistic else None,
            "coverage_90": min(0.4 + coverage, 0.99) if probabilistic else None,
            "crps_day_mean": 0.66 * crps * noise if probabilistic else None,
        },
        "definitions": DEFINITIONS,
        "protocol": {
            "split": "test",
            "windows": 2785,
            "samples": 100,
            "scale": "standardised",
            "steps": nfe,
            "solver": "heun",
        },
        "nfe": nfe,
        "latency_ms": latency,
        "seconds": None if latency is None else 2.785 * latency,
        "quality_curve": curve if kind in ("teacher", "student", "joint") else [],
        "lineage": {
            "stage1": {
                "model": "itransformer",
                "width": 64,
                "training": {"steps": 4000, "lr": 1e-3},
            },
            "stage2": {"process": "flow_matching", "network": "dit", "depth": 2, "ema": 0.999},
        },
        "provenance": {
            "commit": "3f2a9c1d7be0",
            "versions": {"python": "3.11.9", "torch": "2.13.0", "weir": "0.1.0"},
            "hardware": "2 CPU cores",
            "data_digest": "f18de3ad269c",
            "run_id": f"{abs(hash_of(name, seed)):016x}",
            "fingerprint": f"{abs(hash_of(name, seed)) % 2**32:08x}",
            "wall_seconds": round(20 + 100 * level * noise, 1),
        },
    }


def hash_of(name: str, seed: int | None) -> int:
    """A stable number of a run."""
    return int(np.random.default_rng([*name.encode(), seed or 0]).integers(2**60))


def tables_of(node: str, seed: int | None) -> dict[str, pd.DataFrame]:
    """The tables beside the document."""
    kind, _, crps, coverage, _, _ = MODELS[node]
    random = np.random.default_rng([len(node), seed or 0])
    tables = {}
    steps = np.arange(1, 97)
    growth = 0.55 + 0.9 * (steps / 96) ** 0.4 + 0.02 * np.sin(2 * np.pi * steps / 24)
    level = crps if math.isfinite(crps) else 0.31
    tables["horizon"] = pd.DataFrame(
        {
            "step": steps,
            "mse": 1.3 * level * growth**2,
            "crps": crps * growth * (1 + 0.004 * random.standard_normal(96)),
            "coverage_50": coverage - 0.03 * (steps / 96 - 0.5),
            "coverage_90": min(0.4 + coverage, 0.98) - 0.02 * (steps / 96 - 0.5),
        }
    )
    if kind in ("student", "teacher", "joint", "stage1"):
        count = np.arange(0, 2000, 10)
        fall = 0.8 * np.exp(-count / 250) + 0.4
        tables["losses"] = pd.DataFrame(
            {
                "step": count,
                "train/loss": fall + 0.05 * random.standard_normal(len(count)),
                "validation/loss": np.where(count % 100 == 0, fall + 0.04, np.nan),
            }
        )
    if not math.isfinite(crps):
        return tables
    width = math.tan(coverage * math.pi / 2)
    places = np.linspace(0.025, 0.975, 20)
    shares = 1 + (1 - width) * 3 * (places - 0.5) ** 2 * 2
    tables["pit"] = pd.DataFrame({"bin": np.arange(20), "share": shares / shares.sum()})
    nominal = np.linspace(0.1, 0.9, 9)
    tables["reliability"] = pd.DataFrame(
        [
            {"horizon": label, "nominal": p, "observed": min(p ** (1 / (width + 0.06 * n)), 1)}
            for n, label in enumerate(("1-24", "25-48", "49-96"))
            for p in nominal
        ]
    )
    tables["fans"] = fans(np.random.default_rng(seed or 0), crps)
    return tables


def fans(random: np.random.Generator, crps: float) -> pd.DataFrame:
    """Six windows of three variables: history without quantiles, future with all columns."""
    parts = []
    fixed = np.random.default_rng(1)
    quantiles = {"q05": -1.645, "q25": -0.674, "q50": 0.0, "q75": 0.674, "q95": 1.645}
    for n, variable in enumerate(("HUFL", "MUFL", "OT", "HUFL", "LULL", "OT")):
        steps = np.arange(-95, 97)
        course = 0.9 * np.sin(2 * np.pi * (steps + 3 * n) / 24) + 0.3 * np.sin(steps / 40 + n)
        truth = course + 0.25 * np.cumsum(fixed.standard_normal(192)) / 4
        future = steps > 0
        middle = course + truth[95] - course[95]
        spread = 3.2 * (crps - 0.1) * np.sqrt(np.clip(steps, 0, None) / 30 + 0.1)
        table = pd.DataFrame(
            {
                "window": 400 * n,
                "variable": variable,
                "step": steps,
                "kind": np.where(future, "future", "history"),
                "truth": truth,
            }
        )
        for name, z in quantiles.items():
            table[name] = np.where(future, middle + z * spread, np.nan)
        for path in range(5):
            walk = np.convolve(random.standard_normal(196), np.ones(5) / 5**0.5, "valid")
            table[f"p{path}"] = np.where(future, middle + spread * walk, np.nan)
        parts.append(table)
    return pd.concat(parts, ignore_index=True)


def plan(datasets: tuple[str, ...] = ("etth1",), seeds: tuple[int, ...] = (0, 1, 2)) -> PlanGraph:
    """The graph that would have made them."""
    return PlanGraph.of(plan_document(datasets, seeds))


def plan_document(datasets: tuple[str, ...], seeds: tuple[int, ...]) -> dict[str, Any]:
    """Nodes by run and edges between them, as the pipeline hands them over."""
    nodes: list[dict[str, Any]] = []
    edges: list[list[str]] = []

    def add(section: str, name: str, seed: int | None, *parents: str) -> str:
        id_ = f"{section}/{name}" + ("" if seed is None else f"-s{seed}")
        if id_ not in [node["id"] for node in nodes]:
            nodes.append({"id": id_, "section": section, "name": name, "seed": seed})
        edges.extend([parent, id_] for parent in parents)
        return id_

    for data in datasets:
        fetched = add("fetch", data, None)
        ready = add("preprocess", data, None, fetched)
        scored = []
        for node in SHARED_BY_SEEDS:
            fit = add("baseline", f"{data}-{node}", None, ready)
            scored.append(add("evaluate", f"{data}-{node}", None, fit, ready))
        for seed in seeds:
            backbone = add("stage1", f"{data}-itrans", seed, ready)
            made = {"itrans": backbone}
            for node in ("flow", "direct"):
                made[node] = add("stage2", f"{data}-{node}", seed, backbone)
            made["joint"] = add("joint", f"{data}-joint", seed, ready)
            teacher = add("teacher", f"{data}-flow", seed, made["flow"])
            for node in ("onestep", "onestep-mean"):
                made[node] = add("distill", f"{data}-{node}", seed, teacher)
            for node in ("studentt", "gaussian", "bootstrap", "dlinear"):
                parents = [ready] if node == "dlinear" else [ready, backbone]
                made[node] = add("baseline", f"{data}-{node}", seed, *parents)
            for node, model in made.items():
                scored.append(add("evaluate", f"{data}-{node}", seed, model, ready))
        add("report", "report", None, *scored)
    return {"nodes": nodes, "edges": edges}
