"""Baselines on made-up cells whose means can be written down."""

from dataclasses import asdict
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from weir.artifacts.model_folder import ModelCard, save_model
from weir.stages.restore import build_model, restore
from weir.tasks.perturb.baselines import Fitted, NearestGroup, baseline, build
from weir.tasks.perturb.baselines.shifts import compose
from weir.tasks.perturb.data.cells import Cells, CellSet
from weir.tasks.perturb.data.load import PerturbData, Response
from weir.tasks.perturb.flow.responder import Generated
from weir.tasks.perturb.representation.cell_code import log_normalise
from weir.tasks.perturb.settings.models import PerturbStage1
from weir.tasks.perturb.settings.scoring import PerturbBaseline

SEEN = torch.tensor([[1.0, 0, 0], [100.0, 0, 0], [0, 2.0, 0], [5.0, 0, 7.0]])
WITHOUT_VAE = (
    "no_change",
    "perturbed_mean",
    "matching_mean",
    "additive",
    "delta_pca",
    "linear",
    "nearest_group",
)


class Identity(nn.Module):
    """An autoencoder whose latent is the log of the first gene's share, without noise."""

    counted = True

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(()))

    def encode(self, cells: Cells) -> "Identity.Law":
        share = cells.counts / cells.library[:, None]
        return self.Law((share + 1e-3).log(), torch.zeros(len(share), 1))

    class Law:
        def __init__(self, mean: Tensor, tech_mean: Tensor) -> None:
            self.mean, self.tech_mean = mean, tech_mean

    def decode(self, z: Tensor, tech: Tensor, batch: Tensor, library: Tensor) -> Tensor:
        return z.softmax(-1) * library[:, None]

    def draw(self, rate: Tensor, generator: torch.Generator | None = None) -> Tensor:
        return torch.poisson(rate, generator=generator)


def expression(cells: CellSet, data: PerturbData) -> Tensor:
    batch = cells.batch(torch.arange(len(cells)))
    return log_normalise(batch.counts, batch.library, data.schema.scale)


def mean(data: PerturbData, context: int, condition: int) -> Tensor:
    cells = data.split("train")
    chosen = (cells.context == context) & (cells.condition == condition)
    return expression(cells.subset(chosen), data).mean(dim=0)


def answer(model: Fitted, data: PerturbData, target: tuple[float, float]) -> Generated:
    sources = data.responses("test")[0].sources
    batch = sources.batch(torch.arange(len(sources)))
    wanted = torch.tensor(target).expand(len(sources), 2)
    return model.respond(batch, wanted, generator=torch.Generator().manual_seed(0))


@pytest.fixture(scope="module")
def held_out(tiny_perturb: PerturbData) -> Response:
    return tiny_perturb.responses("test")[0]


def test_a_seen_condition_is_itself() -> None:
    assert compose(torch.tensor([100.0, 0, 0]), SEEN).tolist() == [0, 1, 0, 0]
    assert compose(torch.tensor([5.0, 0, 7.0]), SEEN).tolist() == [0, 0, 0, 1]
    assert compose(torch.zeros(3), SEEN).tolist() == [0, 0, 0, 0]


def test_an_unseen_dose_lies_between_its_neighbours_in_its_logarithm() -> None:
    torch.testing.assert_close(
        compose(torch.tensor([10.0, 0, 0]), SEEN), torch.tensor([0.5, 0.5, 0, 0])
    )
    assert compose(torch.tensor([1e4, 0, 0]), SEEN).tolist() == [0, 1, 0, 0]
    assert compose(torch.tensor([0.25, 0, 0]), SEEN).tolist() == [0.25, 0, 0, 0]


def test_a_combination_is_the_sum_of_its_perturbations() -> None:
    torch.testing.assert_close(
        compose(torch.tensor([10.0, 1.0, 0]), SEEN), torch.tensor([0.5, 0.5, 0.5, 0])
    )


def test_a_perturbation_without_single_cells_takes_the_nearest_combination() -> None:
    assert compose(torch.tensor([0, 0, 7.0]), SEEN).tolist() == [0, 0, 0, 1]
    never = compose(torch.tensor([0, 3.0]), torch.tensor([[1.0, 0], [2.0, 0]]))
    assert never.tolist() == [0.5, 0.5]


def test_no_change_is_the_source(tiny_perturb: PerturbData, held_out: Response) -> None:
    found = answer(
        build("no_change", tiny_perturb.schema.scale).fit(tiny_perturb), tiny_perturb, (1, 1)
    )
    torch.testing.assert_close(found.expression, expression(held_out.sources, tiny_perturb))


def test_additive_is_the_balanced_mean_shift(tiny_perturb: PerturbData, held_out: Response) -> None:
    """The held-out context has no cell under A+B, the other three have; all have the singles."""
    model = build("additive", tiny_perturb.schema.scale).fit(tiny_perturb)
    shift = sum(mean(tiny_perturb, c, 4) - mean(tiny_perturb, c, 0) for c in range(3)) / 3
    control = expression(held_out.sources, tiny_perturb)
    expected = (control + shift).clamp(min=0)
    torch.testing.assert_close(answer(model, tiny_perturb, (1.0, 1.0)).expression, expected)
    # an unseen combination: both single shifts, over all four contexts
    a = sum(mean(tiny_perturb, c, 1) - mean(tiny_perturb, c, 0) for c in range(4)) / 4
    b = sum(mean(tiny_perturb, c, 3) - mean(tiny_perturb, c, 0) for c in range(4)) / 4
    found = answer(model, tiny_perturb, (0.1, 1.0)).expression
    torch.testing.assert_close(found, (control + a + b).clamp(min=0))


def test_delta_pca_moves_within_the_components_only(
    tiny_perturb: PerturbData, held_out: Response
) -> None:
    scale = tiny_perturb.schema.scale
    components = tiny_perturb.pca.components
    full = build("additive", scale).fit(tiny_perturb).deltas
    inside = build("delta_pca", scale).fit(tiny_perturb).deltas
    torch.testing.assert_close(inside @ components.T, full @ components.T)
    assert inside.norm() < full.norm()
    torch.testing.assert_close(inside @ components.T @ components, inside)


def test_perturbed_mean_hands_out_every_cell_alike(tiny_perturb: PerturbData) -> None:
    model = build("perturbed_mean", tiny_perturb.schema.scale).fit(tiny_perturb)
    found = answer(model, tiny_perturb, (1.0, 1.0))
    assert (model.condition[found.origin] == 4).all()
    often = found.origin.bincount()
    assert often.max() - often[often > 0].min() <= 1
    cells = tiny_perturb.split("train")
    known = cells.batch(torch.arange(len(cells))).counts
    assert all((known == row).all(dim=1).any() for row in found.counts[:5])
    unseen = answer(model, tiny_perturb, (0.3, 0.0))
    assert model.condition[unseen.origin].unique().tolist() == [1, 2, 3, 4]


def test_matching_mean_takes_cells_that_share_a_perturbation(tiny_perturb: PerturbData) -> None:
    model = build("matching_mean", tiny_perturb.schema.scale).fit(tiny_perturb)
    found = answer(model, tiny_perturb, (0.0, 3.0))
    assert model.condition[found.origin].unique().tolist() == [3, 4]


def test_nearest_group_copies_the_context_with_the_nearest_controls(
    tiny_perturb: PerturbData, held_out: Response
) -> None:
    scale = tiny_perturb.schema.scale
    model = build("nearest_group", scale).fit(tiny_perturb)
    found = answer(model, tiny_perturb, (1.0, 1.0))
    own = expression(held_out.sources, tiny_perturb).mean(dim=0)
    distances = [float((mean(tiny_perturb, c, 0) - own).norm()) for c in range(3)]
    nearest = distances.index(min(distances))
    assert model.context[found.origin].unique().tolist() == [nearest]
    assert (model.condition[found.origin] == 4).all()
    shifted = answer(NearestGroup(scale, shift=True).fit(tiny_perturb), tiny_perturb, (1.0, 1.0))
    moved = found.expression + own - mean(tiny_perturb, nearest, 0)
    torch.testing.assert_close(shifted.expression, moved.clamp(min=0))


def test_linear_finds_a_change_that_is_linear_in_the_dose_and_the_context(
    tiny_perturb: PerturbData, held_out: Response
) -> None:
    """The log-dose model must do better than no change on the held-out combination."""
    model = build("linear", tiny_perturb.schema.scale).fit(tiny_perturb)
    control = expression(held_out.sources, tiny_perturb).mean(dim=0)
    change = model.change(control, torch.tensor([1.0, 1.0])).float()
    truth = expression(held_out.truth, tiny_perturb).mean(dim=0) - control
    assert torch.corrcoef(torch.stack([change, truth]))[0, 1] > 0.7
    assert model.change(control, torch.zeros(2)).abs().max() == 0
    outside = change - change @ tiny_perturb.pca.components.T @ tiny_perturb.pca.components
    assert outside.norm() < 1e-4 * change.norm()


def test_latent_delta_adds_in_the_latent_space(tiny_perturb: PerturbData) -> None:
    model = build("latent_delta", tiny_perturb.schema.scale, vae=Identity()).fit(tiny_perturb)
    found = answer(model, tiny_perturb, (1.0, 0.0))
    still = answer(model, tiny_perturb, (0.0, 0.0))
    assert found.counts[:, :5].mean() > 1.5 * still.counts[:, :5].mean()
    torch.testing.assert_close(
        found.expression,
        log_normalise(found.counts, found.counts.sum(1), tiny_perturb.schema.scale),
    )


@pytest.mark.parametrize("method", WITHOUT_VAE)
def test_a_saved_baseline_gives_the_same_cells(
    method: str, tiny_perturb: PerturbData, tmp_path: Path
) -> None:
    model = build(method, tiny_perturb.schema.scale).fit(tiny_perturb)
    save_file(model.state_dict(), tmp_path / "model.safetensors")
    again = build(method, tiny_perturb.schema.scale)
    again.load_state_dict(load_file(tmp_path / "model.safetensors"))
    for target in ((1.0, 1.0), (0.3, 0.0), (5.0, 0.01)):
        first, second = answer(model, tiny_perturb, target), answer(again, tiny_perturb, target)
        assert torch.equal(first.expression, second.expression)
        assert first.expression.isfinite().all()
        assert first.expression.min() >= 0


def test_a_baseline_names_the_one_thing_it_is_built_on() -> None:
    assert PerturbBaseline(method="latent_delta", stage1="vae").seeded
    assert not PerturbBaseline(method="additive", dataset="cells").seeded
    with pytest.raises(ValueError, match="needs `stage1` and no `dataset`"):
        PerturbBaseline(method="latent_delta", dataset="cells")
    with pytest.raises(ValueError, match="nearest_group only"):
        PerturbBaseline(method="additive", dataset="cells", shift=True)


def test_a_model_folder_is_whole(tiny_perturb: PerturbData, tmp_path: Path) -> None:
    """Built from its card alone, autoencoder included."""
    network = {"d_int": 3, "d_tech": 2, "hidden": 8}
    first = PerturbStage1.model_validate({"dataset": "tiny", "network": network})
    card = {"seed": 0, "task": "perturb", "dataset": "tiny", "schema": tiny_perturb.card()}
    above = ModelCard(section="stage1", name="vae", config=first.model_dump(mode="json"), **card)
    torch.manual_seed(0)
    vae = build_model(above)
    config = PerturbBaseline(method="latent_delta", stage1="vae")
    own = ModelCard(
        section="baseline",
        name="delta",
        config=config.model_dump(mode="json"),
        upstream=asdict(above),
        **card,
    )
    model = build_model(own)
    options = {"seed": 0, "checkpoints": tmp_path, "log": lambda *_: None}
    assert baseline.fit(model, config, tiny_perturb, vae, **options) == []
    save_model(tmp_path, model, own)
    again = restore(tmp_path)
    first, second = (answer(m, tiny_perturb, (1.0, 1.0)) for m in (model, again))
    assert torch.equal(first.counts, second.counts)
    assert len(again.deltas) == 4
