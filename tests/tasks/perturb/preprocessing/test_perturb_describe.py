"""Proposals for a user's file: roles by name and values, repairs by trying."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from weir.errors import UserError
from weir.tasks.perturb.preprocessing.describe import describe
from weir.tasks.perturb.settings.dataset import PerturbDataset


@pytest.fixture
def propose(tmp_path: Path):
    def run(cells):
        file = tmp_path / "mine.h5ad"
        cells.copy().write_h5ad(file)
        proposal = describe(file)
        PerturbDataset.model_validate(proposal.node)
        return proposal

    return run


def test_roles_are_recognised(propose, cells):
    cells.obs = cells.obs.rename(columns={"perturbation": "Treatment", "type": "Cell type"})
    cells.obs["total"] = np.arange(240.0)
    cells.obs["dose_uM"] = np.where(cells.obs["Treatment"] == "control", 0, 2.5)
    cells.obs["batch_id"] = cells.obs_names  # each cell its own: cannot be a batch
    proposal = propose(cells)
    assert proposal.usable
    assert proposal.node["obs"] == {
        "perturbation": "Treatment",
        "control": "control",
        "dose": "dose_uM",
        "cell_type": "Cell type",
        "batch": "donor",
    }
    assert any("240 cells, 30 genes, 3 conditions" in note for note in proposal.notes)


@pytest.mark.parametrize(
    ("column", "control"),
    [("drug", "DMSO"), ("guide", "Non-Targeting"), ("x", "vehicle"), ("condition", "DMSO (0.1 %)")],
)
def test_controls_are_recognised(propose, cells, column, control):
    cells.obs[column] = cells.obs.pop("perturbation").astype(str).replace("control", control)
    found = propose(cells).node["obs"]
    assert (found["perturbation"], found["control"]) == (column, control)
    assert "separator" not in found


def test_a_sample_that_fixes_the_condition_is_no_batch(propose, cells):
    cells.obs["sample"] = cells.obs["perturbation"].astype(str) + "_1"
    del cells.obs["donor"]
    assert "batch" not in propose(cells).node["obs"]


def test_no_control_is_a_guess(propose, cells):
    cells.obs["perturbation"] = cells.obs["perturbation"].astype(str).replace("control", "X")
    proposal = propose(cells)
    assert any("is a guess" in note for note in proposal.notes)


def test_counts_in_a_layer(propose, cells):
    cells.layers["counts"] = cells.X.copy()
    cells.X = np.log1p(cells.X.toarray())
    proposal = propose(cells)
    assert proposal.usable and proposal.node["layer"] == "counts"


def test_no_counts_at_all(propose, cells):
    cells.X = np.log1p(cells.X.toarray())
    proposal = propose(cells)
    assert not proposal.usable
    assert "not usable yet" in proposal.notes[-1] and "log-normalised" in proposal.notes[-1]


def test_repairs(propose, cells):
    cells.obs = cells.obs.rename(columns={"type": "celltype"})
    dense = cells.X.toarray()
    dense[3] = 0
    cells.X = dense
    cells.obs.loc["c9", "celltype"] = None
    cells = cells[
        ~((cells.obs["celltype"] == "T") & (cells.obs["perturbation"] == "control"))
    ].copy()
    proposal = propose(cells)
    assert proposal.usable
    assert {k: v for k, v in proposal.node.items() if v == "drop"} == {
        "empty_cells": "drop",
        "missing": "drop",
        "without_control": "drop",
    }


@pytest.mark.filterwarnings("ignore:Variable names are not unique")
def test_repeated_gene_names(propose, cells):
    cells.var_names = ["g0", "g0", *cells.var_names[2:]]
    assert propose(cells).node["genes"] == {"name": "symbol"}


def test_positions(propose, cells):
    cells.obsm["X_spatial"] = np.random.default_rng(0).random((240, 2))
    cells.obs["slide"] = pd.Categorical(["one", "two"] * 120)
    found = propose(cells).node["obs"]
    assert (found["spatial"], found["section"]) == ("X_spatial", "slide")


def test_no_candidate(propose, cells, tmp_path):
    cells.obs = cells.obs[[]]
    with pytest.raises(UserError, match=r"no column of obs can be the perturbation .* none"):
        propose(cells)
    with pytest.raises(UserError, match="does not exist"):
        describe(tmp_path / "absent.h5ad")
    (tmp_path / "text.h5ad").write_text("a,b")
    with pytest.raises(UserError, match="is no HDF5 file"):
        describe(tmp_path / "text.h5ad")
