"""Mixtures of low-rank Gaussians against dense algebra, and their fit by EM."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.distributions import MultivariateNormal

from weir.tasks.image.density import low_rank as expectation
from weir.tasks.image.density.low_rank import LowRank


def law(dimension: int, rank: int, components: int = 3, seed: int = 0) -> LowRank:
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    basis = torch.linalg.qr(normal(components, dimension, dimension)).Q[..., :rank]
    variance = 0.1 + normal(components, rank).square()
    rest = 0.1 + normal(components).square()
    weight = normal(components).log_softmax(0)
    return LowRank(weight, normal(components, dimension), basis, variance, rest)


def dense(law: LowRank, m: int) -> Tensor:
    """Covariance of a component."""
    v = law.basis[m]
    inside = v @ law.variance[m].diag() @ v.mT
    return inside + law.rest[m] * (torch.eye(len(v)).double() - v @ v.mT)


@given(st.integers(1, 5), st.data(), st.floats(0, 2), st.integers(0, 99))
@settings(max_examples=30, deadline=None)
def test_density_with_noise_is_that_of_dense_covariances(
    dimension: int, data: st.DataObject, sigma: float, seed: int
) -> None:
    some = law(dimension, data.draw(st.integers(1, dimension)), seed=seed)
    x = some.mean[:2] + torch.linspace(-2, 2, 2 * dimension).double().reshape(2, -1)
    noise = sigma**2 * torch.eye(dimension).double()
    expected = torch.stack(
        [
            some.log_weight[m]
            + MultivariateNormal(some.mean[m], dense(some, m) + noise).log_prob(x)
            for m in range(3)
        ],
        dim=1,
    )
    found = some.log_joint(x, torch.full((2,), sigma).double())
    torch.testing.assert_close(found, expected, rtol=1e-7, atol=1e-7)


@pytest.mark.parametrize("rank", [1, 3, 4])
def test_denoiser_is_tweedies_formula(rank: int) -> None:
    """D(x) = x + sigma^2 grad log p_sigma(x), with a noise level of its own for each point."""
    some = law(4, rank)
    x = torch.linspace(-3, 3, 24).double().reshape(6, 4).requires_grad_()
    sigma = torch.linspace(0.1, 3, 6).double()
    (score,) = torch.autograd.grad(some.log_prob(x, sigma).sum(), x)
    torch.testing.assert_close(some.denoise(x, sigma), x + sigma[:, None] ** 2 * score)


def test_denoiser_of_one_gaussian_is_a_wiener_filter() -> None:
    some = law(3, 2, components=1)
    x = torch.tensor([[1.0, -2, 0.5]]).double()
    covariance = dense(some, 0)
    gain = covariance @ torch.linalg.inv(covariance + 0.25 * torch.eye(3).double())
    expected = some.mean + (x - some.mean) @ gain.mT
    torch.testing.assert_close(some.denoise(x, torch.tensor([0.5]).double()), expected)


def test_draws_have_the_moments_of_the_law() -> None:
    some = law(3, 2)
    found = some.sample(60_000, torch.Generator().manual_seed(0)).double()
    weight = some.log_weight.exp()
    mean = weight @ some.mean
    second = sum(
        w * (dense(some, m) + torch.outer(some.mean[m], some.mean[m])) for m, w in enumerate(weight)
    )
    torch.testing.assert_close(found.mean(0), mean, atol=0.03, rtol=0)
    torch.testing.assert_close(
        found.mT.cov(), second - torch.outer(mean, mean), atol=0.1, rtol=0.03
    )


def test_shrunken_moments_lie_between_the_classes_and_the_pooled_ones() -> None:
    generator = torch.Generator().manual_seed(0)
    classes = [torch.randn(n, 3, generator=generator) * s for n, s in ((50, 1.0), (30, 3.0))]
    scatter = [
        (part - part.mean(0)).double().mT @ (part - part.mean(0)).double() for part in classes
    ]
    pooled = (scatter[0] + scatter[1]) / 78
    own = expectation.shrunken(classes, 1e-9)
    torch.testing.assert_close(own[1].covariance, scatter[1] / 30, rtol=1e-5, atol=1e-6)
    drawn = expectation.shrunken(classes, 30.0)
    half = (scatter[1] / 30 + pooled) / 2
    torch.testing.assert_close(drawn[1].covariance, half, rtol=1e-5, atol=1e-6)
    assert torch.allclose(drawn[0].mean, classes[0].mean(0).double())


def test_gaussian_keeps_its_moments_and_their_trace() -> None:
    moments = expectation.Moments(torch.ones(3), torch.diag(torch.tensor([5.0, 1.0, 3.0])))
    assert torch.allclose(dense_float(expectation.gaussian(moments, 3)), moments.covariance)
    cut = expectation.gaussian(moments, 1)
    assert torch.allclose(dense_float(cut), torch.diag(torch.tensor([5.0, 2.0, 2.0])))


def dense_float(law: LowRank) -> Tensor:
    return dense(LowRank(*(part.double() for part in law)), 0).float()


@pytest.fixture(scope="module")
def items() -> Tensor:
    """Two thirds around (-5, 0, .., 0), stretched along axis 1; a third around (5, 0, ..)."""
    generator = torch.Generator().manual_seed(0)
    white = torch.randn(900, 6, generator=generator)
    white[:600, 1] *= 3
    white[:600, 0] -= 5
    white[600:, 0] += 5
    return white


def test_em_finds_two_clusters(items: Tensor) -> None:
    (moments,) = expectation.shrunken([items], 1.0)
    found = expectation.mixture(items, moments, components=2, rank=1, prior=0.1, steps=40, seed=0)
    order = found.mean[:, 0].argsort()
    assert found.log_weight[order].exp().tolist() == pytest.approx([2 / 3, 1 / 3], abs=0.01)
    assert found.mean[order, 0].tolist() == pytest.approx([-5, 5], abs=0.15)
    first = order[0]
    assert found.variance[first, 0] == pytest.approx(9, rel=0.15)
    assert abs(float(found.basis[first, 1, 0])) > 0.99
    assert found.rest.tolist() == pytest.approx([1, 1], rel=0.1)


def test_a_subspace_loses_only_what_is_alike(items: Tensor, monkeypatch) -> None:
    """Outside the leading components all directions have one variance: here they do in truth."""
    (moments,) = expectation.shrunken([items], 1.0)
    settings = {"components": 2, "rank": 1, "prior": 0.1, "steps": 40, "seed": 0}
    whole = expectation.mixture(items, moments, **settings)
    monkeypatch.setattr(expectation, "SUBSPACE", 3)
    part = expectation.mixture(items, moments, **settings)
    zero = torch.zeros(len(items)).double()
    a, b = (law.log_prob(items.double(), zero).mean() for law in (whole, part))
    assert float(a) == pytest.approx(float(b), abs=0.02)
    # The law of the items: Gaussians that do not overlap.
    entropy = 6 / 2 * math.log(2 * math.pi * math.e) + (2 / 3) * math.log(3)
    entropy += -(2 / 3) * math.log(2 / 3) - (1 / 3) * math.log(1 / 3)
    assert float(a) == pytest.approx(-entropy, abs=0.1)


def test_few_items_have_few_components() -> None:
    items = torch.randn(5, 3, generator=torch.Generator().manual_seed(0))
    (moments,) = expectation.shrunken([items], 5.0)
    found = expectation.mixture(items, moments, components=8, rank=8, prior=5.0, steps=9, seed=0)
    assert found.mean.shape == (2, 3)
    assert all(part.isfinite().all() for part in found)
