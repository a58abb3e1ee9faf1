"""Cells for a question that the data does not answer, and questions that make no sense."""

from pathlib import Path

import anndata
import pytest
import torch
from torch import nn

from weir.errors import UserError
from weir.tasks.perturb.baselines import build
from weir.tasks.perturb.data.load import PerturbData
from weir.tasks.perturb.prediction.predict import doses_of, predict


def test_cells_of_an_unmeasured_dose_are_written(tiny_perturb: PerturbData, tmp_path: Path) -> None:
    model = build("additive", tiny_perturb.schema.scale).fit(tiny_perturb)
    context = tiny_perturb.schema.contexts[0].name
    said = predict(
        model,
        tiny_perturb,
        tmp_path / "made.h5ad",
        name="baseline/x",
        perturb="A=0.7+B=1",
        context=context,
        cells=25,
    )
    cells = anndata.read_h5ad(tmp_path / "made.h5ad")
    assert cells.n_obs == 25 and "25 cells" in said
    assert set(cells.obs["condition"]) == {"A=0.7+B=1"}
    assert set(cells.obs["perturbation"]) == {"A+B"}
    assert set(cells.obs["context"]) == {context}
    sources = set(tiny_perturb.cell_names[tiny_perturb.table.condition.numpy() == 0])
    assert set(cells.obs["source"]) <= sources


def test_doses_follow_the_order_of_the_data(tiny_perturb: PerturbData) -> None:
    schema = tiny_perturb.schema
    assert torch.equal(doses_of("B = 2 + A=0.5", schema), torch.tensor([0.5, 2.0]))


@pytest.mark.parametrize(
    ("perturb", "context", "problem"),
    [
        ("C", None, "there is no perturbation 'C'"),
        ("A", None, "write A=DOSE; measured doses"),
        ("A=much", None, "'much' is no dose"),
        ("A=-1", None, "'-1' is no dose"),
        ("A=nan", None, "'nan' is no dose"),
        ("A=1", "nowhere", "the data has no such context"),
    ],
)
def test_bad_questions_are_one_line(
    perturb: str, context: str | None, problem: str, tiny_perturb: PerturbData, tmp_path: Path
) -> None:
    model = build("no_change", tiny_perturb.schema.scale).fit(tiny_perturb)
    file = tmp_path / "made.h5ad"
    with pytest.raises(UserError, match=problem) as caught:
        predict(model, tiny_perturb, file, name="x", perturb=perturb, context=context)
    assert "\n" not in str(caught.value) and not file.exists()


def test_a_model_without_cells_is_refused(tiny_perturb: PerturbData, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="makes no cells"):
        predict(nn.Linear(1, 1), tiny_perturb, tmp_path / "x.h5ad", name="stage1/x", perturb="A=1")
