"""The conditional density: normalised, normal in much noise, and drawn from rightly."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from image_models import stir, white
from torch import Tensor

from weir.tasks.image.density.density import Density

KINDS: dict[str, dict[str, Any]] = {
    "mixture": {"transform": "mixture"},
    "convolved": {"transform": "mixture", "convolved": True},
    "neighbours": {"transform": "mixture", "neighbours": {"radius": 1, "width": 8}},
    "affine": {"transform": "affine"},
    "gaussianization": {"transform": "gaussianization"},
    "sos": {"transform": "sos"},
    "spline": {"transform": "spline"},
    "coupling": {"transform": "gaussianization", "coupling": True},
}
MAPS = [kind for kind, how in KINDS.items() if how["transform"] != "mixture"]
"""Those that take what is drawn to white noise."""


def density(shape: tuple[int, ...] = (2,), **settings: Any) -> Density:
    """A random density of three classes, in double precision; neighbours are those of pictures."""
    torch.manual_seed(0)
    shape = (1, 1, *shape) if "neighbours" in settings and len(shape) == 1 else shape
    made = Density(shape, 3, layers=3, hidden=(16, 16), components=4, embedding=8, **settings)
    return stir(made).double().eval()


def everywhere(value: float, like: Tensor) -> Tensor:
    return torch.full((len(like),), value, dtype=torch.float64)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("sigma", [0.0, 0.5])
def test_density_in_the_plane_integrates_to_one(kind: str, sigma: float) -> None:
    side = torch.linspace(-14, 14, 281, dtype=torch.float64)
    u = torch.cartesian_prod(side, side)
    label = torch.full((len(u),), 1)
    with torch.no_grad():
        log = density(**KINDS[kind]).log_prob(u, everywhere(sigma, u), label)
    assert float(log.exp().sum() * (side[1] - side[0]) ** 2) == pytest.approx(1, abs=2e-3)


@pytest.mark.parametrize("kind", KINDS)
def test_density_is_standard_normal_in_the_limit_of_noise(kind: str) -> None:
    u = 2 * white(50, 2, dtype=torch.float64)
    model, label = density(**KINDS[kind]), torch.arange(50) % 3
    normal = -0.5 * u.square().sum(1) - math.log(2 * math.pi)
    gaps = [
        float((model.log_prob(u, everywhere(sigma, u), label) - normal).detach().abs().max())
        for sigma in (0.5, 80.0, 8e5)
    ]
    assert gaps[0] > 0.3 and gaps[2] < 1e-4
    # It tends there as the share of the data does, without which scores would not be divisible.
    assert gaps[1] / gaps[2] == pytest.approx(1e4, rel=0.1)


@pytest.mark.parametrize(
    "kind", [kind for kind, how in KINDS.items() if how["transform"] != "mixture"]
)
def test_draws_are_of_the_density(kind: str) -> None:
    """A draw maps back to the white noise that it was made of, pictures' shape and all."""
    model = density((1, 3, 2), **KINDS[kind]).float()
    label, sigma = torch.arange(12) % 3, torch.linspace(0, 2, 12)
    made = model.sample(sigma, label, torch.Generator().manual_seed(3))
    assert made.shape == (12, 1, 3, 2)
    back = model.transform(sigma, label)(made.flatten(1))
    torch.testing.assert_close(back, white(12, 6, seed=3), atol=1e-3, rtol=1e-3)


@pytest.mark.parametrize("kind", ["mixture", "convolved", "neighbours"])
@pytest.mark.parametrize("sigma", [0.0, 0.5])
def test_draws_of_mixtures_have_the_moments_of_the_density(sigma: float, kind: str) -> None:
    """Also through an affine layer before them; moments by quadrature."""
    model, count = density(**KINDS[kind]), 40_000
    side = torch.linspace(-12, 12, 241, dtype=torch.float64)
    u = torch.cartesian_prod(side, side)
    with torch.no_grad():
        weight = model.log_prob(u, everywhere(sigma, u), torch.full((len(u),), 2)).exp()
    weight /= weight.sum()
    label = torch.full((count,), 2)
    made = model.sample(everywhere(sigma, label), label, torch.Generator().manual_seed(1))
    made = made.flatten(1).double()
    features = [lambda x: x, lambda x: x**2, lambda x: x.prod(1, True), lambda x: x.tanh() ** 3]
    for feature in features:
        truth = (weight[:, None] * feature(u)).sum(0)
        error = feature(made).std(0) / count**0.5
        assert bool(((feature(made).mean(0) - truth).abs() < 4.5 * error + 1e-3).all())


@pytest.mark.parametrize("kind", KINDS)
def test_every_coordinate_noise_and_class_matters(kind: str) -> None:
    model = density((1, 3, 2), **KINDS[kind])
    u = white(4, 1, 3, 2, dtype=torch.float64).requires_grad_()
    label = torch.zeros(4, dtype=torch.int64)
    log = model.log_prob(u, everywhere(0.3, u), label)
    (score,) = torch.autograd.grad(log.sum(), u)
    # The flow, not only its base: the score is not minus the point anywhere.
    assert bool(((score + u).abs() > 1e-6).all())
    assert bool((model.log_prob(u, everywhere(0.4, u), label) != log).all())
    assert bool((model.log_prob(u, everywhere(0.3, u), label + 1) != log).all())


def test_density_does_not_know_the_future_of_its_order() -> None:
    """One autoregressive layer: the first coordinate's own law is left alone by the others."""
    torch.manual_seed(0)
    model = stir(Density((3,), 1, layers=1, hidden=(8,), transform="affine", embedding=32)).double()
    u = white(5, 3, dtype=torch.float64)
    zero, label = everywhere(0.0, u), torch.zeros(5, dtype=torch.int64)
    moved = u.clone()
    moved[:, 2] += 1
    z, other = (model.transform(zero, label)(x) for x in (u, moved))
    assert torch.equal(z[:, :2], other[:, :2]) and bool((z[:, 2] != other[:, 2]).all())
