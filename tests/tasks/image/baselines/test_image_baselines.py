"""Baselines of pictures: what they draw, their densities, and their folders."""

from pathlib import Path

import pytest
import torch
from image_sets import clouds, halves

from weir.artifacts.model_folder import ModelCard, save_model
from weir.stages.restore import build_model, restore
from weir.tasks.image.baselines import Fitted, baseline
from weir.tasks.image.data.load import ImageData, Images
from weir.tasks.image.settings.baseline import ImageBaseline


def fitted(method: str, data: ImageData, **settings) -> tuple[Fitted, ModelCard]:
    config = ImageBaseline(method=method, dataset="halves", **settings)
    card = ModelCard("baseline", "it", 0, "image", "halves", config.model_dump(), data.card())
    model = build_model(card)
    baseline.fit(model, config, data, None, seed=0, checkpoints=Path(), log=print)
    return model, card


def asked(data: ImageData, *labels: int) -> Images:
    return Images(torch.zeros(len(labels), *data.schema.shape), torch.tensor(labels))


@pytest.mark.parametrize("method", ["training_images", "gaussian", "mixture"])
def test_draws_are_of_the_class_asked_for(method: str) -> None:
    data = halves()
    model, _ = fitted(method, data, components=2, rank=4)
    drawn = model.draw(asked(data, 1, 0), 50, generator=torch.Generator().manual_seed(0))
    assert drawn.shape == (2, 50, 1, 4, 4)
    left, right = drawn[..., :2].mean((2, 3, 4)), drawn[..., 2:].mean((2, 3, 4))
    assert (right[0] > left[0]).all() and (left[1] > right[1]).all()
    again = model.draw(asked(data, 1, 0), 50, generator=torch.Generator().manual_seed(0))
    assert torch.equal(drawn, again)
    assert model.nfe(10, "heun") == 0


@pytest.mark.parametrize("method", ["training_images", "gaussian", "mixture"])
@pytest.mark.parametrize("kind", [halves, clouds])
def test_a_folder_gives_the_same_baseline(method: str, kind, tmp_path: Path) -> None:
    data = kind()
    model, card = fitted(method, data, components=2, rank=4)
    save_model(tmp_path, model, card)
    again = restore(tmp_path)
    first, second = (
        some.draw(asked(data, 0, 1), 5, generator=torch.Generator().manual_seed(0))
        for some in (model, again)
    )
    assert torch.equal(first, second)


@pytest.mark.parametrize("method", ["gaussian", "mixture"])
def test_fewer_items_than_pixels_leave_no_direction_without_variance(method: str) -> None:
    """Along the others a pixel has at least a part of the variance that dequantisation adds."""
    data = halves(train=8)
    model, _ = fitted(method, data, rank=16)
    assert model.laws.variance.min() > 0 and model.laws.rest.min() > 0
    drawn = model.draw(asked(data, 0, 1), 20, generator=torch.Generator().manual_seed(0))
    assert drawn.isfinite().all()
    assert model.log_prob(drawn[0], torch.zeros(20).long()).isfinite().all()


def test_training_images_are_given_once_each_and_dequantised() -> None:
    data = halves(train=60)
    model, _ = fitted("training_images", data)
    drawn = model.draw(asked(data, 0), 30, generator=torch.Generator().manual_seed(0))[0]
    assert drawn.abs().max() <= 1
    levels = model.scale.quantise(drawn).flatten(1)
    train = data.split("train")
    own = train.raw[train.label == 0].float().flatten(1)
    assert torch.equal(levels.unique(dim=0), own.unique(dim=0))
    assert len(model.draw(asked(data, 0), 75)[0]) == 75
    assert not model.has_density and not model.has_denoiser


def test_gaussian_density_is_that_of_the_moments() -> None:
    """Classes of one covariance: the density of a Gaussian with the classes' moments."""
    data = clouds(train=4000)
    model, _ = fitted("gaussian", data)
    points = torch.tensor([[-2.0, 0.0], [-2.5, 0.5], [2.0, 0.0]])
    label = torch.tensor([0, 0, 1])
    mean = torch.tensor([[-2.0, 0], [-2, 0], [2, 0]])
    truth = torch.distributions.Normal(mean, 0.5).log_prob(points).sum(1)
    torch.testing.assert_close(model.log_prob(points, label), truth, atol=0.05, rtol=0)
    # Over both classes, of which only one is near.
    torch.testing.assert_close(
        model.log_prob(points), truth - torch.tensor(2.0).log(), atol=0.05, rtol=0
    )


@pytest.mark.parametrize("method", ["gaussian", "mixture"])
def test_density_integrates_to_one(method: str) -> None:
    data = clouds()
    model, _ = fitted(method, data, components=3)
    axis = torch.linspace(-6, 6, 241)
    grid = torch.cartesian_prod(axis, axis)
    assert float(model.log_prob(grid).exp().sum() * 0.05**2) == pytest.approx(1, abs=1e-3)


@pytest.mark.parametrize("labelled", [True, False])
def test_denoiser_is_the_gradient_of_the_noised_density(labelled: bool) -> None:
    data = halves()
    model, _ = fitted("mixture", data, components=2, rank=4)
    batch = data.split("test").batch(torch.arange(6))
    label = batch.label if labelled else None
    sigma = torch.linspace(0.1, 1, 6)
    noisy = model.scale.event(model.scale.unit(batch.raw)).requires_grad_()
    (score,) = torch.autograd.grad(model.log_density(noisy, sigma, label).sum(), noisy)
    expected = noisy + sigma[:, None, None, None] ** 2 * score
    torch.testing.assert_close(model.denoise(noisy, sigma, label), expected, atol=1e-4, rtol=1e-4)
