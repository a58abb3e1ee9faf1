"""From a raw file to processed cells: parts, folds, conditions, genes, storage."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import sparse

from weir.tasks.perturb.data.load import NICHE
from weir.tasks.perturb.preprocessing import reading
from weir.tasks.perturb.preprocessing.genes import niche_features, variable_genes
from weir.tasks.perturb.representation.cell_code import log_normalise
from weir.tasks.perturb.settings.dataset import PerturbDataset

BY_TYPE = {"design": "leave_group_out", "by": "cell_type", "groups": ["T"]}


def test_counts_survive(process, cells):
    data = process(cells)
    number = [int(name[1:]) for name in data.cell_names]
    assert number == list(range(240))
    rows = torch.arange(240)
    assert np.array_equal(data.table.counts.rows(rows).numpy(), cells.X.toarray())
    assert data.schema.genes == tuple(cells.var_names)
    assert np.array_equal(data.table.library.numpy(), np.asarray(cells.X.sum(1))[:, 0])


@pytest.mark.parametrize("kind", [sparse.csc_matrix, lambda x: x.toarray(), "int32", "in pieces"])
def test_every_storage_gives_the_same(process, cells, kind, monkeypatch):
    expected = process(cells).schema.digest
    if kind == "in pieces":
        monkeypatch.setattr(reading, "CHUNK_VALUES", 30 * 37)
    else:
        cells.X = cells.X.astype(kind) if isinstance(kind, str) else kind(cells.X)
    assert process(cells).schema.digest == expected


def test_held_out_group(process, cells):
    data = process(cells, held_out=BY_TYPE)
    test = data.split("test")
    assert data.schema.fold == "T" and len(test) == 90
    assert (test.condition > 0).all()
    assert {data.schema.cell_types[c - 1] for c in test.cell_type_code.tolist()} == {"T"}
    for part in ("train", "validation"):
        cells_ = data.split(part)
        held = cells_.cell_type_code == 1 + data.schema.cell_types.index("T")
        assert held.any() and (cells_.condition[held] == 0).all()
    assert len(data.responses("test")) == 6  # 2 donors x 3 conditions
    assert all(len(r.neighbours) == 2 for r in data.responses("test"))


def test_held_out_combination_in_any_order(process, cells):
    held = {"design": "leave_combination_out", "conditions": ["B+A"]}
    data = process(cells, held_out=held)
    test = data.split("test")
    assert len(test) == 60 and (test.doses() == 1).all()
    assert len(data.responses("test")[0].neighbours) == 0


def test_held_out_dose(process, cells):
    what = cells.obs["perturbation"].to_numpy()
    cells.obs["dose"] = np.where(what == "A", np.arange(240) % 4 // 2 + 0.5, 2.0)
    held = {"design": "leave_dose_out", "perturbation": "A", "doses": [0.5]}
    data = process(cells, obs={"dose": "dose"}, match=["cell_type"], held_out=held)
    names = [c.name for c in data.schema.conditions]
    assert names == ["control", "A 0.5", "A 1.5", "A+B 2", "B 2"]
    assert (data.split("test").condition == 1).all() and len(data.split("test")) == 30
    assert data.schema.dose_scale == (2.0, 2.0)
    assert data.schema.fold == "A 0.5"


def test_doses_of_parts(process, cells):
    cells.obs["dose"] = cells.obs["perturbation"].map(
        {"control": "", "A": "1e-1", "B": "2", "A+B": "3+4"}
    )
    cells.obs.loc[["c0", "c1"], "perturbation"] = "control+control"
    data = process(cells, obs={"dose": "dose"})
    assert [c.doses for c in data.schema.conditions] == [
        {},
        {"A": 0.1},
        {"A": 3.0, "B": 4.0},
        {"B": 2.0},
    ]
    assert (data.table.condition == 0).sum() == 60


def test_control_inside_a_combination_is_no_part(process, cells):
    cells.obs["perturbation"] = cells.obs["perturbation"].astype(str).replace("A", "A+control")
    assert process(cells).schema.perturbations == ("A", "B")
    kept = process(cells, obs={"separator": None})
    assert kept.schema.perturbations == ("A+B", "A+control", "B")


@pytest.mark.parametrize("kind", ["float64", "int64", "category"])
def test_numbers_are_names(process, cells, kind):
    numbers = cells.obs["perturbation"].map({"control": 0.0, "A": 1.0, "B": 2.0, "A+B": 3.0})
    cells.obs["perturbation"] = numbers.astype(kind)
    cells.obs["donor"] = cells.obs["donor"].astype("float64")
    data = process(cells, obs={"control": 0})
    assert data.schema.perturbations == ("1", "2", "3")
    assert data.schema.batches == ("101", "102")


def test_validation_is_stratified_and_repeatable(process, cells):
    data = process(cells, validation=0.2, held_out=BY_TYPE)
    chosen = data.split("validation")
    pair = chosen.context * 10 + chosen.condition
    assert len(pair.unique()) == 2 + 2 * 4 and (pair.bincount()[pair] == 3).all()
    assert torch.equal(process(cells, validation=0.2, held_out=BY_TYPE).part, data.part)


def test_test_cells_decide_nothing(process, cells):
    settings = {"held_out": BY_TYPE, "genes": {"min_cells": 3, "highly_variable": 12}}
    before = process(cells, **settings)
    dense = cells.X.toarray()
    dense[before.part.numpy() == 2] = 0
    dense[before.part.numpy() == 2, 3] = 500
    cells.X = dense
    after = process(cells, **settings)
    assert after.schema.digest != before.schema.digest
    for name in ("genes", "scale", "library", "dose_scale"):
        assert getattr(after.schema, name) == getattr(before.schema, name)
    assert torch.equal(after.pca.components, before.pca.components)


def test_genes_are_left_out(process, cells):
    dense = cells.X.toarray()
    dense[:, 0] = 0
    cells.X = dense
    data = process(cells, genes={"highly_variable": 12})
    assert len(data.schema.genes) == 12
    assert [r.count for r in data.schema.repairs] == [1, 17]
    chosen = [int(name[1:]) for name in data.schema.genes]
    assert chosen == sorted(chosen)
    assert torch.equal(data.table.library, torch.from_numpy(dense[:, chosen]).sum(1))


def test_variable_genes_are_found():
    random = np.random.default_rng(0)
    rate = np.tile(random.uniform(1, 4, 300), (400, 1))
    varying = np.arange(0, 300, 30)
    rate[:, varying] *= np.where(np.arange(400) % 2, 1.9, 0.1)[:, None]
    counts = sparse.csr_matrix(random.poisson(rate).astype("float32"))
    assert set(variable_genes(counts, 3 * len(varying), None)).issuperset(varying)


def test_components_are_those_of_the_training_cells(process, cells):
    data = process(cells, scale=50.0)
    (_, train), *_ = data.split("train").all()
    expression = log_normalise(train.counts, train.library, 50.0)
    centred = (expression - expression.mean(0)).double()
    values = torch.linalg.svdvals(centred)[:5]
    found = data.pca.project(expression).double().norm(dim=0)
    assert torch.allclose(found, values, rtol=1e-4)
    assert data.schema.scale == 50.0
    log = train.library.double().log()
    assert abs(data.schema.library.mean - float(log.mean())) < 1e-6


def test_quality_and_small_groups(process, cells):
    few = cells[[i for i in range(240) if not (60 <= i < 112 and i % 4 == 0)]].copy()
    data = process(few, quality={"min_counts": 40, "min_genes": 10}, min_group=3)
    kinds = [r.kind for r in data.schema.repairs]
    assert kinds.count("small groups") == 1 or few.n_obs > sum(data.schema.cells.values())
    library = np.asarray(few.X.sum(1))[:, 0]
    assert sum(data.schema.cells.values()) <= (library >= 40).sum()
    assert float(data.table.library.min()) >= 40


def test_conditions_only_in_held_out_cells_are_left_out(process, cells):
    what = cells.obs["perturbation"].astype(str)
    what[(cells.obs["type"] == "T") & (what == "B")] = "C"
    cells.obs["perturbation"] = what
    data = process(cells, held_out=BY_TYPE)
    assert data.schema.perturbations == ("A", "B")
    assert data.schema.repairs[-1].kind == "unseen" and data.schema.repairs[-1].count == 30


def test_folds():
    node = {
        "task": "perturb",
        "source": {"path": "cells.h5ad", "sha256": "0" * 64},
        "obs": {"batch": "donor", "dose": "d"},
    }
    held = {"design": "leave_group_out", "by": "batch", "groups": [101, "x"]}
    config = PerturbDataset.model_validate(node | {"held_out": held})
    assert config.folds == ("101", "x")
    assert config.fold(1).folds == ("x",)
    assert config.fold(1).model_dump() | {"held_out": 0} == config.model_dump() | {"held_out": 0}
    dose = {"design": "leave_dose_out", "perturbation": "A", "doses": [0.5, 10]}
    assert PerturbDataset.model_validate(node | {"held_out": dose}).folds == ("A 0.5", "A 10")
    assert PerturbDataset.model_validate(node).folds == ()


def test_neighbourhood_of_a_row_of_cells():
    positions = np.array([[0.0, 0], [1, 0], [2, 0], [3, 0], [0.4, 0], [0.4, 0]])
    section = np.array(["a", "a", "a", "a", "b", "b"])
    kind = np.array([1, 2, 2, 0, 1, 2])
    features = niche_features(positions, section, kind, types=2, neighbours=2)
    assert features.shape == (6, 3 + 2 * 2 * 2)
    assert np.allclose(features[0, :3], [0, 0, 1])  # both neighbours of the first are of type 2
    assert np.allclose(features[3, :3], [0, 0, 1])
    assert np.allclose(features[4, :3], [0, 0, 1])  # only one other cell, at the same place
    moved = niche_features(positions * 7 + 3, section, kind, types=2, neighbours=2)
    assert np.allclose(moved, features, atol=1e-6)  # raw coordinates do not matter


def test_niche_is_stored(process, cells):
    random = np.random.default_rng(0)
    cells.obsm["spatial"] = random.random((240, 2))
    data = process(cells, obs={"spatial": "spatial", "section": "donor"})
    assert data.schema.niche == 3 + 8
    assert np.array_equal(np.load(data.folder / NICHE), data.table.niche.numpy())
    assert data.split("train").batch(torch.tensor([4])).niche.shape == (1, 11)
