"""`weir predict --cells`: a user's own file, answered by a model folder alone."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import anndata
import numpy as np
import pytest
from scipy import sparse

from weir.cli import main


@pytest.fixture
def table(dish: Path) -> anndata.AnnData:
    """The simulated cells; `type1` is the held-out type of the fold, 96 cells are controls."""
    return anndata.read_h5ad(dish / "data/raw/dish/simulated.h5ad")


Predict = Callable[..., tuple[anndata.AnnData | None, str]]


@pytest.fixture
def predict(
    dish: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Predict:
    """Ask a copied model of cells, far from its repository; the answer, and what went to stderr."""
    monkeypatch.chdir(tmp_path)

    def ask(
        cells: anndata.AnnData | None,
        *words: str,
        model: str = "distill/onestep-f0-s0",
        perturb: str = "A=3+B=1",
    ) -> tuple[anndata.AnnData | None, str]:
        folder = tmp_path / model
        if not folder.exists():
            shutil.copytree(dish / "results" / model, folder)
        file, output = tmp_path / "new.h5ad", tmp_path / "made.h5ad"
        output.unlink(missing_ok=True)
        if cells is not None:
            cells.write_h5ad(file)
        capfd.readouterr()
        line = ["predict", str(folder), "--perturb", perturb, "--cells", str(file)]
        code = main([*line, "--output", str(output), *words])
        err = capfd.readouterr().err
        assert code == (0 if output.exists() else 2), err
        assert not list(tmp_path.glob(".*.partial"))
        notes = "\n".join(row for row in err.splitlines() if row.startswith("weir:"))
        return (anndata.read_h5ad(output) if code == 0 else None), notes

    return ask


def controls(table: anndata.AnnData) -> anndata.AnnData:
    return table[table.obs["perturbation"] == "control"].copy()


def test_no_dose_gives_back_the_control_cells(table: anndata.AnnData, predict: Predict) -> None:
    """In the order of the file, with the model's genes, and with all columns of obs."""
    table.obs["mine"] = np.arange(len(table))
    made, notes = predict(table, perturb="A=0")
    wanted = controls(table)
    assert notes == ""
    assert list(made.obs_names) == list(wanted.obs_names)
    assert made.obs[wanted.obs.columns].astype(str).equals(wanted.obs.astype(str))
    assert set(made.obs["weir_estimand"]) == {"edit"}
    assert made.n_vars < table.n_vars
    assert np.array_equal(made.X.toarray(), wanted[:, made.var_names].X.toarray())
    assert np.array_equal(made.layers["counts"].toarray(), made.X.toarray())
    assert made.uns["weir"]["model"] == "distill/onestep"


def test_a_perturbation_changes_them(table: anndata.AnnData, predict: Predict) -> None:
    made, _ = predict(table, "--context", "type2")
    wanted = controls(table)
    wanted = wanted[wanted.obs["cell_type"] == "type2"]
    assert list(made.obs_names) == list(wanted.obs_names)
    assert set(made.obs["weir_context"]) == {"type2"}
    values = made.X.toarray()
    assert (values != wanted[:, made.var_names].X.toarray()).any()
    assert np.array_equal(values, np.floor(values)) and values.min() >= 0


def test_names_places_and_order_in_the_file_do_not_matter(
    table: anndata.AnnData, predict: Predict
) -> None:
    plain, _ = predict(table)
    order = np.random.default_rng(0).permutation(table.n_vars)
    other = table[:, order].copy()
    extra = anndata.AnnData(sparse.csr_matrix(np.ones((table.n_obs, 1), "float32")), obs=other.obs)
    extra.var_names = ["extra"]
    other = anndata.concat([extra, other], axis="var", merge="first")
    other.layers["raw_counts"] = other.X.toarray()
    other.X = np.log1p(other.X.toarray())
    other.var["symbol"] = other.var_names
    other.var_names = [f"ENSG{k}" for k in range(other.n_vars)]
    other.obs = other.obs.rename(
        columns={"cell_type": "label", "batch": "donor", "perturbation": "what"}
    )
    words = ["--obs", "cell_type=label", "--obs", "batch=donor", "--obs", "perturbation=what"]
    made, notes = predict(other, *words, "--layer", "raw_counts", "--gene-names", "symbol")
    assert notes == ""
    assert np.array_equal(made.X.toarray(), plain.X.toarray())
    assert list(made.var_names) == list(plain.var_names)


def test_all_cells_are_taken_as_controls_when_asked_or_when_nothing_is_said(
    table: anndata.AnnData, predict: Predict
) -> None:
    made, notes = predict(table, "--all-cells", perturb="A=0")
    assert made.n_obs == table.n_obs and notes == ""
    assert np.array_equal(made.X.toarray(), table[:, made.var_names].X.toarray())
    del table.obs["perturbation"]
    again, notes = predict(table, perturb="A=0")
    assert again.n_obs == table.n_obs
    assert "no column 'perturbation'" in notes and len(notes.splitlines()) == 1


def test_unseen_categories_are_unknown_and_named(table: anndata.AnnData, predict: Predict) -> None:
    some = controls(table)
    some.obs["batch"] = ["new donor"] * 50 + ["batch1"] * (len(some) - 50)
    made, notes = predict(some)
    assert made.n_obs == len(some)
    (line,) = notes.splitlines()
    assert "batch 'new donor' unknown to the model (50 cells)" in line
    assert set(made.obs["weir_context"]) == {"type1", "type2", "type3"}
    some.obs["cell_type"] = "new type"
    made, notes = predict(some)
    assert [("'new type'" in line) for line in notes.splitlines()] == [True, False]
    assert set(made.obs["weir_context"]) == {"new type"}


def test_few_cells_of_a_new_context_are_not_anchored(
    table: anndata.AnnData, predict: Predict
) -> None:
    some = controls(table)[:5].copy()
    some.obs["cell_type"] = "new type"
    made, notes = predict(some)
    assert made.n_obs == 5
    assert "new contexts with less than 20 cells are not anchored: 'new type'" in notes


@pytest.mark.parametrize("model", ["baseline/additive-f0", "stage2/new-f0-s0"])
def test_other_models_answer_too(model: str, table: anndata.AnnData, predict: Predict) -> None:
    made, _ = predict(table, model=model)
    assert made.n_obs == 96 and np.isfinite(made.X.toarray()).all()
    assert ("counts" in made.layers) == (model != "baseline/additive-f0")


def test_missing_genes_are_counted_as_zero_only_when_asked(
    table: anndata.AnnData, predict: Predict
) -> None:
    plain, _ = predict(table, perturb="A=0")
    lost = list(plain.var_names[:4])
    some = table[:, [name for name in table.var_names if name not in lost]].copy()
    made, notes = predict(some)
    assert made is None
    first = ", ".join(map(repr, lost[:3]))
    assert f"4 of the model's {plain.n_vars} genes are missing, {first} first; add them" in notes
    made, notes = predict(some, "--fill-missing", perturb="A=0")
    assert "counted as zero" in notes
    assert not made[:, lost].X.toarray().any()
    assert np.array_equal(made[:, 4:].X.toarray(), plain[:, 4:].X.toarray())


def test_cells_may_be_left_out(table: anndata.AnnData, predict: Predict) -> None:
    counts = table.X.toarray()
    rows = np.flatnonzero(table.obs["perturbation"] == "control")
    counts[rows[0]] = 0
    table.X = sparse.csr_matrix(counts)
    table.obs.loc[table.obs_names[rows[1]], "cell_type"] = np.nan
    made, notes = predict(table, "--drop", "missing", "--drop", "empty_cells")
    assert list(made.obs_names) == list(table.obs_names[rows[2:]])
    assert "no cell_type" in notes


def log_normalised(table: anndata.AnnData) -> None:
    table.X = np.log1p(table.X.toarray())


def set_value(value: float) -> Callable[[anndata.AnnData], None]:
    def spoil(table: anndata.AnnData) -> None:
        counts = table.X.toarray()
        counts[3, 2] = value
        table.X = sparse.csr_matrix(counts)

    return spoil


def empty_cell(table: anndata.AnnData) -> None:
    counts = table.X.toarray()
    counts[3] = 0
    table.X = sparse.csr_matrix(counts)


def same_gene(table: anndata.AnnData) -> None:
    table.var_names = [table.var_names[1], *table.var_names[1:]]


def other_genes(table: anndata.AnnData) -> None:
    table.var_names = [f"ENSG{k}" for k in range(table.n_vars)]


def no_label(table: anndata.AnnData) -> None:
    table.obs.loc[table.obs_names[3], "batch"] = np.nan


def no_column(table: anndata.AnnData) -> None:
    table.obs = table.obs.drop(columns="batch")


def no_controls(table: anndata.AnnData) -> None:
    table.obs["perturbation"] = "A"


def nothing(table: anndata.AnnData) -> None:
    """The file is as it should be; the words are not."""


@pytest.mark.parametrize(
    ("spoil", "words", "problem"),
    [
        (log_normalised, [], "look log-normalised, but raw counts are needed; pass --layer"),
        (set_value(-1), [], "is negative"),
        (set_value(0.5), [], "is no whole number"),
        (set_value(np.nan), [], "is missing (NaN)"),
        (empty_cell, [], "it has no counts (1 such cells); pass --drop empty_cells"),
        (same_gene, [], "stands twice"),
        (other_genes, ["--fill-missing"], "pass --gene-names"),
        (no_label, [], "has no value (1 such cells); fix them or pass --drop missing"),
        (no_column, [], "obs has no column 'batch'"),
        (no_column, [], "pass --obs batch=NAME, or batch= if there is none"),
        (no_controls, [], "no cell is a control"),
        (no_controls, [], "pass --obs control=VALUE, or --all-cells"),
        (nothing, ["--obs", "label"], "write SETTING=NAME"),
        (nothing, ["--obs", "celltype=label"], "did you mean 'cell_type'?"),
        (nothing, ["--layer", "counts"], "no counts in layer counts; pass --layer"),
        (nothing, ["--context", "type9"], "did you mean"),
        (nothing, ["--samples", "5"], "each cell of --cells is answered once"),
        (nothing, ["--steps", "0"], "at least one step"),
        (nothing, ["--cells", "none.h5ad"], "does not exist"),
        (nothing, ["--perturb", "C"], "there is no perturbation 'C'"),
    ],
)
def test_what_is_wrong_is_one_line(
    spoil: Callable[[anndata.AnnData], None],
    words: list[str],
    problem: str,
    table: anndata.AnnData,
    predict: Predict,
) -> None:
    spoil(table)
    made, notes = predict(table, *words)
    assert made is None
    (line,) = notes.splitlines()
    assert problem in line


def test_a_column_that_the_file_lacks_may_be_left_unset(
    table: anndata.AnnData, predict: Predict
) -> None:
    del table.obs["batch"]
    made, _ = predict(table, "--obs", "batch=")
    assert made.n_obs == 96


def test_options_of_a_file_need_one(
    dish: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.chdir(dish)
    words = ["predict", "results/distill/onestep-f0-s0", "--perturb", "A=1", "--all-cells"]
    assert main([*words, "--output", str(tmp_path / "x.h5ad")]) == 2
    assert "--all-cells says how to read --cells" in capfd.readouterr().err


def test_a_ceiling_is_refused(table: anndata.AnnData, predict: Predict) -> None:
    made, notes = predict(table, model="baseline/oracle-f0")
    assert made is None and "baseline that is no ceiling" in notes
