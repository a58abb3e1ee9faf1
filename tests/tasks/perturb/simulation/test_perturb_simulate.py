"""Simulated cells: their statistics, their exact twins, and the way through preprocessing."""

from __future__ import annotations

from pathlib import Path

import anndata
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import kstest, nbinom

from weir.artifacts.raw_folder import RawFolder
from weir.errors import UserError
from weir.tasks.perturb.data.load import PerturbData, load
from weir.tasks.perturb.preprocessing.preprocess import preprocess
from weir.tasks.perturb.settings.dataset import PerturbDataset
from weir.tasks.perturb.settings.simulator import Simulation
from weir.tasks.perturb.simulation.law import Law, quantile, uniforms
from weir.tasks.perturb.simulation.simulate import RAW, dose_table, draw_law, simulate

SETTINGS = Simulation(cells=1500, genes=300, depth=240, cell_types=2, batches=2, seed=3)


@pytest.fixture(scope="module")
def raw(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("raw")
    RawFolder.record(folder, "simulator", simulate(SETTINGS, folder))
    return folder


@pytest.fixture(scope="module")
def processed(raw: Path, tmp_path_factory: pytest.TempPathFactory) -> PerturbData:
    output = tmp_path_factory.mktemp("processed")
    config = PerturbDataset.model_validate(
        {
            "task": "perturb",
            "source": {"simulator": SETTINGS.model_dump()},
            "obs": {"dose": "dose", "cell_type": "cell_type", "batch": "batch"},
            "genes": {"min_cells": 5, "highly_variable": 200},
            "quality": {"min_counts": 100},
            "held_out": {"design": "leave_combination_out", "conditions": ["A+B"]},
        }
    )
    preprocess(config, raw, output)
    return load(output)


@given(mean=st.floats(1e-6, 5e3), theta=st.floats(0.05, 1e4), uniform=st.floats(1e-9, 1 - 1e-9))
def test_quantile_is_the_inverse_of_the_distribution_function(mean, theta, uniform):
    count = quantile(np.array([uniform]), np.array([mean]), np.array([theta]))[0]
    success = theta / (theta + mean)
    assert count == round(count)
    assert nbinom.cdf(count, theta, success) >= uniform - 1e-10
    assert count == 0 or nbinom.cdf(count - 1, theta, success) < uniform + 1e-10


def test_uniforms_are_uniform_and_each_cells_own():
    all_of_them = uniforms(5, np.arange(400), 50)
    assert kstest(all_of_them.ravel(), "uniform").pvalue > 1e-3
    assert abs(np.corrcoef(all_of_them[:, :-1].ravel(), all_of_them[:, 1:].ravel())[0, 1]) < 0.03
    assert np.array_equal(uniforms(5, np.array([7, 3]), 50), all_of_them[[7, 3]])
    assert not np.array_equal(uniforms(6, np.array([7]), 50)[0], all_of_them[7])


def test_statistics_are_those_of_real_cells(raw: Path):
    table = anndata.read_h5ad(raw / RAW)
    law = Law.load(raw)
    counts = table.X.toarray()
    control = (table.obs["perturbation"] == "control").to_numpy()
    assert abs((counts[control] == 0).mean() - 0.8) < 0.02
    assert abs(np.log(law.parameters.depth).std() - 0.56) < 0.03
    assert 0.5 < np.log(counts.sum(1)).std() < 0.7
    quantiles = np.quantile(law.parameters.theta, [0.05, 0.25, 0.5, 0.75])
    assert np.allclose(quantiles, [0.5, 1, 3.5, 20], rtol=0.05)
    assert (law.parameters.theta >= 1e3).mean() > 0.1


def test_counts_follow_their_rates(raw: Path):
    law = Law.load(raw)
    rows = np.arange(SETTINGS.cells)
    none = np.zeros((len(rows), 3), "float32")
    counts, rates = law.twins_of(rows, none), law.rates_of(rows, none)
    z = (counts - rates).sum(0) / np.sqrt((rates + rates**2 / law.parameters.theta).sum(0))
    assert abs(z).max() < 4.5 and 0.8 < z.std() < 1.2


def test_twins_under_the_doses_given_are_the_data(processed: PerturbData):
    law = Law.load(processed.folder)
    for part in ("train", "test"):
        cells = processed.split(part)
        items = torch.arange(60)
        twins = law.twins(cells.rows[items], cells.doses(items))
        assert torch.equal(twins, cells.batch(items).counts)


def test_twins_differ_by_the_condition_only(processed: PerturbData):
    law, cells = Law.load(processed.folder), processed.split("train")
    rows = cells.rows[cells.condition == 0][:50]
    none = torch.zeros(50, 3)
    strong = none.clone()
    strong[:, 0] = 10.0
    before, after = law.twins(rows, none), law.twins(rows, strong)
    up = law.rates(rows, strong) > law.rates(rows, none)
    assert up.any() and not up.all()
    assert (after[up] >= before[up]).all() and (after[~up] <= before[~up]).all()


def test_response_grows_with_the_dose_and_vanishes_without():
    law, _, _ = draw_law(SETTINGS)
    rows, doses = np.zeros(6, "int64"), np.zeros((6, 3), "float32")
    doses[:, 1] = [0, 0.01, 0.1, 1, 10, 1e6]
    shift = np.abs(law.shift_of(rows, doses))
    assert (shift[0] == 0).all()
    assert (np.diff(shift, axis=0) >= 0).all() and (
        np.diff(shift[:, shift[-1] > 0], axis=0) > 0
    ).all()
    full = np.abs(
        law.parameters.effect[1] * law.parameters.type_factor[1, law.parameters.cell_type[0]]
    )
    assert np.allclose(shift[-1], full, rtol=1e-6)


def test_pairs_interact():
    law, _, _ = draw_law(SETTINGS)
    rows = np.zeros(3, "int64")
    doses = np.array([[1, 0, 0], [0, 1, 0], [1, 1, 0]], "float32")
    shift = law.shift_of(rows, doses)
    beyond = shift[2] - shift[0] - shift[1]
    hit = law.parameters.interaction[0] != 0
    assert (beyond[hit] != 0).all() and np.allclose(beyond[~hit], 0)


@pytest.mark.parametrize(("confounding", "least", "most"), [(0.0, 0.0, 0.1), (1.0, 0.99, 1.0)])
def test_confounding_ties_perturbations_to_batches(confounding, least, most):
    settings = SETTINGS.model_copy(update={"confounding": confounding, "combinations": 0})
    _, obs, _ = draw_law(settings)
    table = (
        obs[obs["perturbation"] != "control"]
        .groupby(["perturbation", "batch"], observed=True)
        .size()
        .unstack(fill_value=0)
    )
    share = table.div(table.sum(1), axis=0).max(1) * 2 - 1  # 0 for even, 1 for one batch only
    assert least <= share.mean() <= most
    assert obs[obs["perturbation"] == "control"]["batch"].nunique() == 2


def test_the_seed_decides_everything(raw: Path, tmp_path: Path):
    simulate(SETTINGS, tmp_path)
    for name in (RAW, "law.json", "law.safetensors"):
        assert (tmp_path / name).read_bytes() == (raw / name).read_bytes()


def test_positions_bring_neighbourhoods(tmp_path: Path):
    settings = SETTINGS.model_copy(update={"spatial": 0.5, "cells": 400})
    RawFolder.record(tmp_path, "simulator", simulate(settings, tmp_path))
    output = tmp_path / "processed"
    output.mkdir()
    config = {
        "task": "perturb",
        "source": {"simulator": settings.model_dump()},
        "obs": {"cell_type": "cell_type", "spatial": "spatial", "section": "batch"},
    }
    preprocess(PerturbDataset.model_validate(config), tmp_path, output)
    data = load(output)
    assert data.split("train").niche.shape[1] == data.schema.niche == 3 + 8
    assert torch.allclose(data.table.niche[:, :3].sum(1), torch.ones(len(data.part)))


def test_real_data_has_no_law(tmp_path: Path):
    with pytest.raises(UserError, match=r"law is known only of a simulated dataset"):
        Law.load(tmp_path)
    (tmp_path / "law.json").write_text("{}")
    with pytest.raises(UserError, match="is damaged"):
        Law.load(tmp_path)


def test_places_change_responses_only():
    placed = SETTINGS.model_copy(update={"spatial_response": 0.7})
    law, _, positions = draw_law(placed)
    parameters = law.parameters
    assert positions is not None and not parameters.tissue.any()
    rows, doses = np.arange(40), np.zeros((40, 3), "float32")
    doses[:, 0] = 10.0
    factor = law.shift_of(rows, doses) / np.where(parameters.effect[0], parameters.effect[0], 1)
    hit = parameters.effect[0] != 0
    strength = parameters.type_factor[0, parameters.cell_type[rows]] / (
        1 + (parameters.half_dose[0] / 10) ** law.hill
    )
    sign = np.sign(parameters.place_factor[0])
    wanted = strength * np.exp(0.7 * sign * parameters.field[rows])
    assert np.allclose(factor[:, hit], wanted[:, None], rtol=1e-6)
    assert np.allclose(law.shift_of(rows, 0 * doses), 0)
    # A tissue that marks cells anyway is the same tissue, with and without.
    marked = SETTINGS.model_copy(update={"spatial": 0.5})
    plain, both = (
        draw_law(marked.model_copy(update={"spatial_response": size}))[0].parameters
        for size in (0.0, 0.7)
    )
    assert not plain.place_factor.any()
    for name in ("field", "tissue", "effect", "activity", "depth"):
        assert np.array_equal(getattr(plain, name), getattr(both, name))


def test_a_law_with_places_is_read_back_and_its_twins_are_the_data(tmp_path: Path):
    simulate(SETTINGS.model_copy(update={"spatial_response": 0.7, "cells": 60}), tmp_path)
    law, table = Law.load(tmp_path), anndata.read_h5ad(tmp_path / RAW)
    assert (np.abs(law.parameters.place_factor) == 0.7).all()
    doses = dose_table(table.obs, law.names.perturbations)
    assert np.array_equal(law.twins_of(np.arange(60), doses), table.X.toarray())
