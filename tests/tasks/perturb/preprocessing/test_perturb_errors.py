"""Everything wrong with a user's file is one line that says where and how to fix it."""

from __future__ import annotations

import h5py
import numpy as np
import pytest
from pydantic import ValidationError

from weir.errors import UserError
from weir.tasks.perturb.settings.dataset import PerturbDataset


def refused(process, cells, message, **settings):
    with pytest.raises(UserError, match=message) as caught:
        process(cells, **settings)
    assert "\n" not in str(caught.value)
    assert "cells.h5ad" in str(caught.value)


def put(cells, row, gene, value):
    dense = cells.X.toarray()
    dense[row, gene] = value
    cells.X = dense


def test_log_normalised(process, cells):
    cells.layers["counts"] = cells.X.copy()
    cells.X = np.log1p(cells.X.toarray())
    refused(process, cells, r"look log-normalised.*set `layer` to where .*\(counts\)")
    assert process(cells, layer="counts").schema.cells["train"] > 0


def test_normalised(process, cells):
    cells.X = cells.X.multiply(1e4 / cells.X.sum(1)).tocsr()
    refused(process, cells, "is no whole number: the values look normalised")


def test_scaled(process, cells):
    dense = cells.X.toarray()
    cells.X = (dense - dense.mean(0)) / dense.std(0)
    refused(process, cells, "is negative: the values are scaled")


def test_one_fraction_among_counts(process, cells):
    put(cells, 7, 3, 1.5)
    refused(process, cells, "cell 'c7', gene 'g3': 1.5 is no whole number")


def test_negative(process, cells):
    put(cells, 8, 2, -1)
    refused(process, cells, "cell 'c8', gene 'g2': -1 is negative")


@pytest.mark.parametrize(
    ("value", "message"), [(np.nan, r"missing \(NaN\)"), (np.inf, "too large"), (1e8, "too large")]
)
def test_no_finite_count(process, cells, value, message):
    put(cells, 9, 1, value)
    refused(process, cells, f"cell 'c9', gene 'g1'.*{message}")


def test_no_control(process, cells):
    refused(
        process,
        cells,
        "never 'dmso' but 'control', 'A', 'B', 'A.B'; set `obs.control`",
        obs={"control": "dmso"},
    )


def test_absent_column_is_guessed(process, cells):
    refused(
        process,
        cells,
        "no column 'Perturbation' .did you mean 'perturbation'..; set `obs.perturbation`",
        obs={"perturbation": "Perturbation"},
    )
    refused(process, cells, "no column 'zzz' among 'perturbation'", obs={"batch": "zzz"})


def test_missing_label(process, cells):
    cells.obs.loc["c5", "type"] = None
    refused(process, cells, r"cell 'c5': obs\['type'\] has no value \(1 such cells\)")
    data = process(cells, missing="drop")
    assert sum(data.schema.cells.values()) == 239
    assert data.schema.repairs[0].kind == "missing"


@pytest.mark.filterwarnings("ignore:Variable names are not unique")
def test_duplicated_genes(process, cells):
    cells.var_names = ["g0", "g0", *cells.var_names[2:]]
    refused(process, cells, "gene 'g0' stands twice")
    assert process(cells, genes={"name": "symbol"}).schema.genes[:2] == ("s0", "s1")


def test_empty_cells(process, cells):
    put(cells, [3, 4], slice(None), 0)
    refused(process, cells, r"cell 'c3': it has no counts \(2 such cells\)")
    assert process(cells, empty_cells="drop").schema.repairs[0].count == 2


def test_files_that_are_none(process, cells, tmp_path):
    refused(process, b"", "is empty, so no .h5ad")
    refused(process, b"a,b\n1,2\n", "is no HDF5 file")
    with h5py.File(tmp_path / "other.h5", "w") as store:
        store["x"] = [1]
    refused(process, (tmp_path / "other.h5").read_bytes(), "HDF5, but no .h5ad")
    refused(process, cells[:0], "0 cells")
    cells.write_h5ad(tmp_path / "whole.h5ad")
    whole = (tmp_path / "whole.h5ad").read_bytes()
    refused(process, whole[: len(whole) // 2], "cut off, so no .h5ad")
    with h5py.File(tmp_path / "whole.h5ad", "a") as store:
        store["X"].attrs["encoding-type"] = "array"
    refused(process, (tmp_path / "whole.h5ad").read_bytes(), "X is neither a sparse nor a dense")


def test_context_without_control(process, cells):
    lonely = (cells.obs["type"] == "T") & (cells.obs["perturbation"] == "control")
    cells = cells[~lonely].copy()
    refused(process, cells, "'T, 101', 'T, 102' has less than 3 control cells")
    data = process(cells, without_control="drop")
    assert {c.cell_type for c in data.schema.contexts} == {"B"}
    assert data.schema.repairs[0].count == 90


def test_too_few_cells(process, cells):
    few = cells[np.r_[0:8, 60:68]].copy()
    refused(process, few, "training cells are too few", match=[])


def test_dose(process, cells):
    cells.obs["dose"] = ["", *["1"] * 239]
    cells.obs.loc["c70", "dose"] = "high"
    refused(process, cells, "cell 'c70': the dose 'high' of 'A' is no number", obs={"dose": "dose"})
    cells.obs.loc["c70", "dose"] = "-1"
    refused(process, cells, "the dose -1 of 'A' is not positive", obs={"dose": "dose"})
    cells.obs.loc["c70", "dose"] = "1+2"
    refused(process, cells, "2 doses in '1.2' for 1 parts of 'A'", obs={"dose": "dose"})


def test_broken_combination(process, cells):
    cells.obs["perturbation"] = cells.obs["perturbation"].replace("A+B", "A+")
    refused(process, cells, r"'A\+' has an empty part")
    cells.obs["perturbation"] = cells.obs["perturbation"].replace("A+", "A+A")
    refused(process, cells, r"'A\+A' names a perturbation twice")


def test_absent_groups_list_what_there_is(process, cells):
    refused(
        process,
        cells,
        "has 'NK', but there are 'B', 'T'; fix `held_out.groups`",
        held_out={"design": "leave_group_out", "by": "cell_type", "groups": ["NK"]},
    )
    refused(
        process,
        cells,
        r"has 'A\+C', but there are 'A\+B'",
        held_out={"design": "leave_combination_out", "conditions": ["A+C"]},
    )
    cells.obs["dose"] = np.where(cells.obs["perturbation"] == "A", 2.0, 1.0)
    dose = {"design": "leave_dose_out", "perturbation": "A"}
    refused(
        process,
        cells,
        "has 5.0, but there are 1.0, 2.0",
        obs={"dose": "dose"},
        held_out=dose | {"doses": [5.0]},
    )
    refused(
        process,
        cells,
        "all doses of 'A'",
        obs={"dose": "dose"},
        held_out=dose | {"doses": [1.0, 2.0]},
    )
    refused(
        process,
        cells,
        "has 'Z', but there are 'A', 'B'",
        obs={"dose": "dose"},
        held_out=dose | {"perturbation": "Z", "doses": [1]},
    )


def test_combination_of_an_unknown_part(process, cells):
    single = cells[cells.obs["perturbation"] != "B"].copy()
    refused(
        process,
        single,
        r"a part of 'A\+B' occurs in no other condition",
        held_out={"design": "leave_combination_out", "conditions": ["A+B"]},
    )


def test_layer_and_names(process, cells):
    refused(process, cells, r"no counts in layer raw; .* one of: null \(X\)", layer="raw")
    refused(
        process, cells, "var has no column 'symbl' .did you mean 'symbol'", genes={"name": "symbl"}
    )
    refused(process, cells, "obsm has no 'spatial'", obs={"spatial": "spatial"})


def test_lost_positions(process, cells):
    cells.obsm["spatial"] = np.full((240, 2), 1.0)
    cells.obsm["spatial"][4, 0] = np.nan
    refused(process, cells, "cell 'c4': .* no finite position", obs={"spatial": "spatial"})


def test_no_gene_is_left(process, cells):
    refused(process, cells, "0 genes are left of 30", genes={"min_cells": 500})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"match": ["batch"], "obs": {}}, "match names batch"),
        (
            {"obs": {}, "held_out": {"design": "leave_group_out", "by": "batch", "groups": ["x"]}},
            "`obs.batch` is not set",
        ),
        (
            {"held_out": {"design": "leave_dose_out", "perturbation": "A", "doses": [1]}},
            "`obs.dose` is not set",
        ),
        (
            {"held_out": {"design": "leave_group_out", "by": "batch", "groups": ["x", "x"]}},
            "names a group twice",
        ),
        ({"obs": {"section": "s"}}, "section needs `spatial`"),
    ],
)
def test_settings_that_contradict_each_other(change, message):
    node = {
        "task": "perturb",
        "source": {"path": "cells.h5ad", "sha256": "0" * 64},
        "obs": {"batch": "donor"},
    }
    with pytest.raises(ValidationError, match=message):
        PerturbDataset.model_validate(node | change)


def test_obs_is_not_the_length_of_the_counts(process, cells, tmp_path):
    cells.write_h5ad(tmp_path / "short.h5ad")
    with h5py.File(tmp_path / "short.h5ad", "a") as store:
        del store["X"]
        store["X"] = np.ones((3, 30))
    refused(process, (tmp_path / "short.h5ad").read_bytes(), "counts are 3 x 30, but obs has 240")
