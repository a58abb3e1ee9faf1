"""Generated cells as `.h5ad`, read back by anndata."""

from pathlib import Path

import anndata
import numpy as np
import pytest
import torch

from weir.tasks.perturb.baselines import build
from weir.tasks.perturb.data.load import PerturbData
from weir.tasks.perturb.evaluation import tables as export
from weir.tasks.perturb.evaluation.generation import Made, generate
from weir.tasks.perturb.evaluation.tables import Export

ABOUT = {"model": "baseline/x", "estimand": "edit", "seed": 3, "dataset": "tiny"}


def make(method: str, data: PerturbData, count: int = 30) -> Made:
    model = build(method, data.schema.scale).fit(data)
    response = data.responses("test")[0]
    generator = torch.Generator().manual_seed(0)
    return generate(model, response.sources, torch.tensor([1.0, 1.0]), count, generator)


def write(made: list[Made], data: PerturbData, folder: Path) -> anndata.AnnData:
    response = data.responses("test")[0]
    target = data.table.condition_doses[response.condition]
    collected = Export(data, len(made), ABOUT)
    for each in made:
        condition = data.schema.conditions[response.condition].name
        collected.add(condition, data.schema.contexts[response.context].name, each, target)
    collected.write(folder / "cells.h5ad")
    return anndata.read_h5ad(folder / "cells.h5ad")


def test_counts_are_in_x_and_every_cell_says_what_it_is(
    tiny_perturb: PerturbData, tmp_path: Path
) -> None:
    made = make("no_change", tiny_perturb)
    cells = write([made], tiny_perturb, tmp_path)
    np.testing.assert_array_equal(cells.X.toarray(), made.cells.counts)
    np.testing.assert_array_equal(cells.layers["counts"].toarray(), made.cells.counts)
    assert list(cells.var_names) == list(tiny_perturb.schema.genes)
    first = cells.obs.iloc[0]
    wanted = {
        "perturbation": "A+B",
        "dose": 1.0,
        "condition": "A+B 1",
        "context": "T, two",
        "cell_type": "T",
        "batch": "two",
        "model": "baseline/x",
        "estimand": "edit",
        "seed": 3,
    }
    assert {name: first[name] for name in wanted} == wanted
    sources = tiny_perturb.cell_names[made.rows.numpy()]
    np.testing.assert_array_equal(cells.obs["source"], sources)
    assert cells.uns["weir"]["X"] == "counts"
    assert cells.obs_names.is_unique


def test_cells_without_counts_are_log_normalised(tiny_perturb: PerturbData, tmp_path: Path) -> None:
    made = make("additive", tiny_perturb)
    cells = write([made], tiny_perturb, tmp_path)
    np.testing.assert_allclose(cells.X.toarray(), made.cells.expression, rtol=1e-6)
    assert "counts" not in cells.layers
    assert cells.uns["weir"]["X"].startswith("log1p")
    assert cells.uns["weir"]["scale"] == tiny_perturb.schema.scale


def test_a_file_has_a_largest_size(
    tiny_perturb: PerturbData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(export, "CELLS", 25)
    cells = write([make("no_change", tiny_perturb)] * 2, tiny_perturb, tmp_path)
    assert cells.n_obs == 24
