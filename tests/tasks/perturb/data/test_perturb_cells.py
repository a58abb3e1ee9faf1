"""Loaded cells: dense batches, subsets, responses, damage."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import sparse

from weir.errors import UserError
from weir.tasks.perturb.data.cells import SparseCounts
from weir.tasks.perturb.data.load import NICHE, PerturbData, load
from weir.tasks.perturb.data.schema import Schema
from weir.tasks.perturb.preprocessing.preprocess import CountsWriter
from weir.tasks.perturb.representation.cell_code import log_normalise


@given(
    counts=arrays(
        "int64", st.tuples(st.integers(1, 6), st.integers(1, 5)), elements=st.integers(0, 3)
    ),
    most=st.sampled_from([0, 40_000, 65_535, 65_536, 3_000_000_000]),
    data=st.data(),
)
def test_rows_give_back_what_was_written(tmp_path_factory, counts, most, data):
    counts[0, 0] = most
    folder = tmp_path_factory.mktemp("counts")
    with CountsWriter(folder, counts.shape[1], int(counts.max())) as writer:
        for row in counts:
            writer.append(sparse.csr_matrix(row[None]))
    loaded = SparseCounts.load(folder, counts.shape[1])
    assert len(loaded) == len(counts)
    rows = data.draw(st.lists(st.integers(0, len(counts) - 1), max_size=8))
    dense = loaded.rows(torch.tensor(rows, dtype=torch.int64))
    assert np.array_equal(dense.numpy(), counts[rows].astype("float32"))


def test_mapped_counts_are_the_same(tiny_perturb: PerturbData, monkeypatch):
    monkeypatch.setattr("weir.tasks.perturb.data.cells.RESIDENT", 0)
    mapped = load(tiny_perturb.folder).table.counts
    rows = torch.arange(320)
    assert torch.equal(mapped.rows(rows), tiny_perturb.table.counts.rows(rows))


def test_log_normalise():
    counts = torch.tensor([[1.0, 3.0], [0.0, 0.0]])
    expression = log_normalise(counts, counts.sum(1), 8.0)
    assert torch.allclose(expression, torch.tensor([[2.0, 6.0], [0.0, 0.0]]).log1p())


def test_batch(tiny_perturb: PerturbData):
    cells = tiny_perturb.split("train")
    items = torch.tensor([3, 0, 3])
    batch = cells.batch(items)
    assert torch.equal(batch.counts.sum(1), batch.library)
    assert torch.equal(batch.counts[0], batch.counts[2])
    assert torch.equal(batch.doses, cells.doses(items))
    assert torch.equal(batch.batch, cells.batch_code[items])
    assert torch.equal(batch.cell_type, cells.cell_type_code[items])
    assert batch.niche.shape == (3, 0)


def test_doses_follow_the_conditions(tiny_perturb: PerturbData):
    cells = tiny_perturb.split("train")
    assert (cells.doses()[cells.condition == 0] == 0).all()
    assert (cells.doses()[cells.condition == 1] == torch.tensor([0.1, 0.0])).all()
    combination = tiny_perturb.split("test")
    assert (combination.doses() == 1).all()


def test_all_passes_each_cell_once(tiny_perturb: PerturbData, monkeypatch):
    monkeypatch.setattr("weir.tasks.perturb.data.cells.CHUNK", 50)
    cells = tiny_perturb.split("train").subset(torch.arange(120))
    pieces = list(cells.all())
    assert [len(items) for items, _ in pieces] == [50, 50, 20]
    assert torch.equal(torch.cat([c.library for _, c in pieces]), cells.library)


def test_subset_by_mask_and_items(tiny_perturb: PerturbData):
    cells = tiny_perturb.split("train")
    controls = cells.subset(cells.condition == 0)
    assert (controls.condition == 0).all()
    assert torch.equal(controls.subset(torch.tensor([2, 1])).rows, controls.rows[[2, 1]])


def test_parts_share_no_cell(tiny_perturb: PerturbData):
    rows = torch.cat([tiny_perturb.split(p).rows for p in ("train", "validation", "test")])
    assert torch.equal(rows.sort().values, torch.arange(320))
    assert {p: len(tiny_perturb.split(p)) for p in tiny_perturb.schema.cells} == (
        tiny_perturb.schema.cells
    )


def test_responses(tiny_perturb: PerturbData):
    (response,) = tiny_perturb.responses("test")
    assert response.name == "T, two / A+B 1"
    assert torch.equal(response.truth.rows, tiny_perturb.split("test").rows)
    assert (response.sources.condition == 0).all() and (response.sources.context == 3).all()
    controls = (tiny_perturb.table.condition == 0) & (tiny_perturb.table.context == 3)
    assert len(response.sources) == int(controls.sum())
    assert [int(n.context[0]) for n in response.neighbours] == [0, 1, 2]
    for neighbours in response.neighbours:
        assert (neighbours.condition == response.condition).all()
        assert (tiny_perturb.part[neighbours.rows] == 0).all()


def test_pca_is_orthonormal_and_centred(tiny_perturb: PerturbData):
    pca, train = tiny_perturb.pca, tiny_perturb.split("train")
    (_, cells), *_ = train.all()
    shown = pca.project(log_normalise(cells.counts, cells.library, tiny_perturb.schema.scale))
    assert torch.allclose(shown.mean(0), torch.zeros(10), atol=1e-4)
    assert torch.allclose(pca.components @ pca.components.T, torch.eye(10), atol=1e-5)


def test_schema_survives_its_file(tiny_perturb: PerturbData):
    assert Schema.load(tiny_perturb.folder) == tiny_perturb.schema
    assert tiny_perturb.cell_names[7] == "cell7"


def test_damage_is_one_clear_line(tiny_folder: Path, tmp_path: Path):
    copy = tmp_path / "copy"
    shutil.copytree(tiny_folder, copy)
    np.save(copy / NICHE, np.zeros((320, 1), "float32"))
    with pytest.raises(UserError, match=r"does not fit its schema\.json; rerun weir preprocess"):
        load(copy)
    (copy / NICHE).unlink()
    with pytest.raises(UserError, match="cannot be read"):
        load(copy)
