"""Sparse matrices of files: what is whole is read as SciPy reads it, what is damaged is refused."""

from __future__ import annotations

import logging
from pathlib import Path

import anndata
import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse

from weir.errors import UserError
from weir.tasks.perturb.preprocessing.sparse_matrix import open_sparse


def write(file: Path, dense: np.ndarray, form: str) -> None:
    anndata.AnnData(getattr(sparse, f"{form}_matrix")(dense)).write_h5ad(file)


@pytest.mark.parametrize("form", ["csr", "csc"])
@given(seed=st.integers(0, 9), rows=st.integers(1, 6), cut=st.tuples(*[st.integers(0, 6)] * 2))
@settings(max_examples=20, deadline=None)
def test_rows_are_those_of_the_matrix(
    tmp_path_factory: pytest.TempPathFactory, form: str, seed: int, rows: int, cut: tuple
) -> None:
    file = tmp_path_factory.mktemp("cells") / "x.h5ad"
    dense = np.random.default_rng(seed).poisson(0.7, (rows, 5)).astype("float32")
    write(file, dense, form)
    with h5py.File(file) as store:
        matrix = open_sparse(file, store["X"])
        assert matrix.shape == dense.shape
        assert np.array_equal(matrix[slice(*cut)].toarray(), dense[slice(*cut)])


@pytest.mark.parametrize("form", ["csr", "csc"])
def test_entries_that_stand_twice_are_added(
    tmp_path: Path, form: str, caplog: pytest.LogCaptureFixture
) -> None:
    file = tmp_path / "x.h5ad"
    write(file, np.array([[1.0, 2.0], [3.0, 4.0]]), form)
    with h5py.File(file, "r+") as store:
        store["X/indices"][:] = [0, 0, 0, 1]
        with caplog.at_level(logging.WARNING):
            found = open_sparse(file, store["X"])[:].toarray()
    first = [1 + 3, 0] if form == "csc" else [1 + 2, 0]
    rest = [[0 + 2], [4]] if form == "csc" else [[3], [4]]
    expected = [[first[0], rest[0][0]], [0, 4]] if form == "csc" else [first, [3, 4]]
    assert np.array_equal(found, expected)
    assert "stand twice (1 in rows 0 to 1): they are added" in caplog.text


DAMAGES = {
    "a column too far": ("indices", lambda values: np.where(values == 1, 2**30, values)),
    "a column before the first": ("indices", lambda values: -values),
    "pointers that fall": ("indptr", lambda values: np.r_[0, 4, 2, values[3:]]),
    "pointers too far": ("indptr", lambda values: np.r_[values[:-1], 2**40]),
    "pointers below zero": ("indptr", lambda values: np.r_[-5, values[1:]]),
    "too few pointers": ("indptr", lambda values: values[:-1]),
    "pointers of fractions": ("indptr", lambda values: values.astype("float64")),
    "columns of fractions": ("indices", lambda values: values.astype("float32")),
    "values of words": ("data", lambda values: np.array([b"x"] * len(values))),
    "a value too few": ("data", lambda values: values[:-1]),
    "a table of columns": ("indices", lambda values: values[:, None]),
}


@pytest.mark.parametrize("form", ["csr", "csc"])
@pytest.mark.parametrize("damage", DAMAGES)
def test_what_is_damaged_is_refused(tmp_path: Path, form: str, damage: str) -> None:
    file = tmp_path / "x.h5ad"
    write(file, np.random.default_rng(0).poisson(2, (6, 5)).astype("float32"), form)
    name, change = DAMAGES[damage]
    with h5py.File(file, "r+") as store:
        values = store["X"][name][:]
        del store["X"][name]
        store["X"][name] = change(values.astype("int64") if name != "data" else values)
        with pytest.raises(
            UserError, match=f"{file.name}: X is damaged: .*; save it again"
        ) as said:
            open_sparse(file, store["X"])[:]
    assert "\n" not in str(said.value)


@pytest.mark.parametrize("shape", [(3, 2**62), (-1, 5), (6,), (6, 5, 1), "wide"])
def test_a_shape_that_is_none_is_refused(tmp_path: Path, shape: object) -> None:
    file = tmp_path / "x.h5ad"
    write(file, np.ones((6, 5), "float32"), "csr")
    with h5py.File(file, "r+") as store:
        store["X"].attrs["shape"] = shape
        with pytest.raises(UserError, match=r"X is (damaged|neither)"):
            open_sparse(file, store["X"])
