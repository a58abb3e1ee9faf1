"""The stages of task clinical, run by hand on tiny simulated records."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from safetensors.numpy import load_file


def document(ward: Path, run: str) -> dict:
    return json.loads((ward / "results/evaluate" / run / "details/evaluation.json").read_text())


def risks(ward: Path, run: str) -> np.ndarray:
    table = pd.read_parquet(ward / "results/evaluate" / run / "details/risks.parquet")
    return np.log(table["risk"] / (1 - table["risk"])).to_numpy()


def test_every_evaluation_is_finite_and_knows_its_kind(ward: Path) -> None:
    kinds = {
        "sets-s0": "stage1",
        "head-s0": "head",
        "boosting-s0": "baseline",
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
        assert ("auroc" in found["metrics"]) == (run != "last")
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
