"""Principal components and genes as a first stage: what they are, and all that is built on them."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import anndata
import pytest
import torch
from perturb_tiny_flow import GENES, cell_set, vocabulary
from pydantic import ValidationError
from sklearn.decomposition import PCA
from stored import stored

from weir.artifacts.model_folder import ModelCard, save_model
from weir.errors import UserError
from weir.stages.restore import build_model, restore
from weir.tasks.perturb.baselines import build
from weir.tasks.perturb.data.cells import Cells, CellSet
from weir.tasks.perturb.data.load import PerturbData
from weir.tasks.perturb.evaluation.evaluate import evaluate
from weir.tasks.perturb.flow import stage2
from weir.tasks.perturb.flow.cell_flow import CellFlow
from weir.tasks.perturb.prediction.predict import predict
from weir.tasks.perturb.representation import stage1
from weir.tasks.perturb.representation.linear_code import LinearCode
from weir.tasks.perturb.settings.models import PerturbJoint, PerturbStage1, PerturbStage2
from weir.tasks.perturb.settings.scoring import PerturbEvaluate


def every(cells: CellSet) -> Cells:
    return cells.batch(torch.arange(len(cells)))


def code(components: int | None = 3) -> LinearCode:
    found = LinearCode(GENES, 300.0, components)
    found.fit(cell_set())
    return found


def stirred(components: int | None = 3, **settings: object) -> CellFlow:
    """A flow that moves perturbed cells."""
    shape = {"context": 8, "alpha": 8, "basis": 3, "width": 16, "layers": 2} | settings
    torch.manual_seed(0)
    model = CellFlow(code(components), vocabulary(), **shape)
    stage2.fit(model, cell_set())
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
    return model.eval()


def test_components_are_the_principal_ones() -> None:
    cells = every(cell_set())
    found = code(4)
    expression = found.expression(cells)
    reference = PCA(4).fit(expression.numpy())
    cosine = (found.components * torch.from_numpy(reference.components_)).sum(1)
    torch.testing.assert_close(cosine.abs(), torch.ones(4), atol=1e-4, rtol=0)
    largest = found.components.abs().argmax(1, keepdim=True)
    assert (found.components.gather(1, largest) > 0).all()
    z = found.encode(cells)
    spread = z.mean.var(0, correction=1)
    expected = torch.from_numpy(reference.explained_variance_)
    torch.testing.assert_close(spread, expected, rtol=1e-3, atol=0)
    assert (z.log_variance == -torch.inf).all() and z.tech_mean.shape == (len(expression), 0)
    torch.testing.assert_close(z.sample()[0], z.mean)


def test_all_genes_are_given_back_and_few_components_project() -> None:
    cells = every(cell_set())
    for components in (None, GENES):
        whole = code(components)
        z = whole.encode(cells)
        back = whole.decode(z.mean, z.tech_mean, cells.batch, cells.library)
        torch.testing.assert_close(back, whole.expression(cells), atol=1e-4, rtol=0)
    few = code(2)
    z = few.encode(cells)
    back = few.decode(z.mean, z.tech_mean, cells.batch, cells.library)
    rest = few.expression(cells) - back
    torch.testing.assert_close(rest @ few.components.T, torch.zeros_like(z.mean), atol=1e-4, rtol=0)


def test_expression_is_never_negative_and_keeps_what_the_code_does_not_hold() -> None:
    cells, found = every(cell_set()), code(2)
    before, after = torch.zeros(120, GENES), torch.full((120, GENES), -0.5)
    moved = found.express(after, cells, before)
    torch.testing.assert_close(moved, (found.expression(cells) - 0.5).clamp_min(0))
    assert (found.express(after) == 0).all()


def test_more_components_than_directions_are_refused() -> None:
    assert code(GENES).d_int == GENES
    with pytest.raises(UserError, match=rf"vary in {GENES} directions only; lower it") as caught:
        code(GENES + 1)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("components", [3, None])
def test_a_flow_on_it_edits_expression(components: int | None) -> None:
    model = stirred(components)
    some = cell_set()
    sources = some.batch((some.condition == 0).nonzero()[:, 0])
    nothing = torch.zeros(len(sources.library), 2)
    kept = model.respond(sources, nothing)
    assert kept.counts is None
    assert torch.equal(kept.expression, model.vae.expression(sources))
    changed = model.respond(sources, torch.tensor([1.0, 0.0]).expand_as(nothing))
    assert (changed.expression - kept.expression).abs().max() > 0.01
    assert (changed.expression >= 0).all()


def test_without_its_residual_an_edit_lies_in_the_components() -> None:
    model = stirred(2, keep_noise=False)
    some = cell_set()
    sources = some.batch((some.condition == 0).nonzero()[:, 0])
    z = model.vae.encode(sources)
    plain = model.vae.decode(z.mean, z.tech_mean, sources.batch, sources.library).clamp_min(0)
    made = model.respond(sources, torch.zeros(len(plain), 2)).expression
    torch.testing.assert_close(made, plain, atol=1e-4, rtol=0)


def test_from_noise_both_estimands_are_offered() -> None:
    model = stirred(3, source="noise", steps=20)
    some = cell_set()
    sources = some.batch((some.condition == 0).nonzero()[:, 0])
    nothing = torch.zeros(len(sources.library), 2)
    new = model.respond(sources, nothing, estimand="population")
    assert new.counts is None and new.expression.isfinite().all()
    edited = model.respond(sources, nothing, estimand="edit")
    torch.testing.assert_close(
        edited.expression, model.vae.expression(sources), atol=0.02, rtol=0.02
    )


def test_a_gene_that_never_varies_does_not_blow_up_the_latents() -> None:
    model = stirred(None)
    with torch.no_grad():
        model.vae.encode = lambda cells: LinearCode.encode(model.vae, cells)._replace(
            mean=torch.cat([cells.counts[:, 1:], torch.ones(len(cells.counts), 1)], 1)
        )
        stage2.fit(model, cell_set())
    assert float(model.latent_sd[-1]) == 1.0 and (model.latent_sd > 0).all()


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        ({"model": "pca", "prior": {"beta": 2.0}}, "prior is for model nb_vae only"),
        ({"model": "pca", "training": {"steps": 3}}, "training is for model nb_vae only"),
        ({"components": 3}, "components is for model pca only"),
        ({"model": "pca", "components": 0}, "greater than 0"),
    ],
)
def test_settings_of_the_other_model_are_refused(settings: dict, problem: str) -> None:
    with pytest.raises(ValidationError, match=problem):
        PerturbStage1.model_validate({"dataset": "d"} | settings)


def test_only_what_is_drawn_depends_on_the_seed() -> None:
    assert PerturbStage1(dataset="d").seeded
    config = PerturbStage1(dataset="d", model="pca", components=None)
    assert not config.seeded
    assert PerturbStage1.model_validate(config.model_dump(mode="json")) == config


def test_joint_training_is_refused() -> None:
    with pytest.raises(ValidationError, match="use a stage1 node with model pca"):
        PerturbJoint.model_validate({"dataset": "d", "model": "pca"})


@pytest.fixture(scope="module")
def folder(tiny_perturb: PerturbData, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A stage-1 folder with as many components as the data's own PCA."""
    wanted = len(tiny_perturb.pca.components)
    config = PerturbStage1(dataset="tiny", model="pca", components=wanted)
    card = ModelCard(
        "stage1", "pca", 0, "perturb", "tiny", config.model_dump(mode="json"), tiny_perturb.card()
    )
    model = build_model(card)
    stage1.prepare(model, config, tiny_perturb.split("train"))
    assert stage1.objective(config, model) is None
    path = tmp_path_factory.mktemp("pca")
    save_model(path, model, card)
    return path


def flow_card(data: PerturbData, folder: Path, **settings: object) -> ModelCard:
    above = restore(folder)
    assert isinstance(above, LinearCode)
    config = PerturbStage2.model_validate({"stage1": "pca"} | settings).model_dump(mode="json")
    upstream = asdict(
        ModelCard(
            "stage1",
            "pca",
            0,
            "perturb",
            "tiny",
            PerturbStage1(dataset="tiny", model="pca", components=above.d_int).model_dump(),
            data.card(),
        )
    )
    return ModelCard("stage2", "flow", 0, "perturb", "tiny", config, data.card(), upstream)


def test_means_of_counts_cannot_be_anchored(tiny_perturb: PerturbData, folder: Path) -> None:
    with pytest.raises(UserError, match=r"stage2\.flow: anchor: moves means of counts") as caught:
        build_model(flow_card(tiny_perturb, folder))
    assert "\n" not in str(caught.value)


def test_a_trained_flow_is_scored_and_predicts(
    tiny_perturb: PerturbData, folder: Path, tmp_path: Path
) -> None:
    config = PerturbStage2.model_validate({"stage1": "pca", "anchor": None})
    model = build_model(flow_card(tiny_perturb, folder, anchor=None))
    train = tiny_perturb.split("train")
    stage2.prepare(model, config, train, restore(folder))
    assert model.vae.components.abs().sum() > 0
    items = model.items(train)
    objective = stage2.objective(config, model).train()
    objective(items.batch(torch.arange(32)), 0.0)["loss"].backward()
    gradients = [p.grad for p in model.network.parameters() if p.grad is not None]
    assert gradients and all(gradient.isfinite().all() for gradient in gradients)
    queries = model.eval().as_student().queries(train)
    assert len(queries) and queries.batch(torch.arange(3)).cells.tech_mean.shape == (3, 0)
    asked = PerturbEvaluate(model="stage2/flow", samples=20, steps=2)
    found = stored(evaluate(model, tiny_perturb, asked, seed=0, label="test"), tmp_path)
    assert "pearson_delta" in found["metrics"] and "r2_variance" in found["metrics"]
    cells = anndata.read_h5ad(tmp_path / "details/cells.h5ad")
    assert "counts" not in cells.layers and cells.uns["weir"]["X"].startswith("log1p")
    predict(model, tiny_perturb, tmp_path / "x.h5ad", name="stage2/flow", perturb="A=1", cells=9)
    assert anndata.read_h5ad(tmp_path / "x.h5ad").n_obs == 9


def test_latents_are_scored_without_a_likelihood(
    tiny_perturb: PerturbData, folder: Path, tmp_path: Path
) -> None:
    model = restore(folder)
    asked = PerturbEvaluate(model="stage1/pca", split="validation")
    found = stored(evaluate(model, tiny_perturb, asked, seed=0, label="test"), tmp_path)
    assert found["headline"] == "reconstruction" and "nll" not in found["metrics"]
    expression = model.expression(every(tiny_perturb.split("validation"))).double()
    z = (expression.float() - model.mean) @ model.components.T
    left = (expression - (model.mean + z @ model.components)).square().sum()
    total = (expression - expression.mean(0)).square().sum()
    assert found["metrics"]["reconstruction"] == pytest.approx(float(1 - left / total), abs=1e-4)


def test_a_shift_of_components_is_the_baseline_of_that_name(
    tiny_perturb: PerturbData, folder: Path
) -> None:
    scale = tiny_perturb.schema.scale
    latent = build("latent_delta", scale, vae=restore(folder)).fit(tiny_perturb)
    linear = build("delta_pca", scale).fit(tiny_perturb)
    sources = every(tiny_perturb.responses("test")[0].sources)
    target = torch.tensor([1.0, 1.0]).expand(len(sources.library), 2)
    made = latent.respond(sources, target)
    assert made.counts is None
    torch.testing.assert_close(
        made.expression, linear.respond(sources, target).expression, atol=1e-3, rtol=0
    )
