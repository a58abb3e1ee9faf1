"""The counts' law against 50 digits of mpmath and against finite differences."""

import mpmath
import numpy as np
import pytest
import torch
from scipy import stats

from weir.tasks.perturb.representation.likelihood import (
    THETA,
    bounded_theta,
    nb_log_prob,
    theta_parameter,
)


def exact(count: float, mean: float, theta: float) -> float:
    with mpmath.workdps(50):
        x, mu, t = (mpmath.mpf(float(v)) for v in (count, mean, theta))
        value = mpmath.loggamma(x + t) - mpmath.loggamma(t) - mpmath.loggamma(x + 1)
        return float(value + x * mpmath.log(mu / (mu + t)) - t * mpmath.log1p(mu / t))


def grid(means: int = 10, thetas: int = 12) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Counts far from their mean and near it, `[point]` float32 each."""
    points = []
    for mean in np.logspace(-4, 5, means).astype("float32"):
        near = {int(mean * factor) for factor in (0.5, 0.9, 0.99, 1, 1.1, 2, 5)}
        counts = sorted({0, 1, 2, 10, 317, 10007, 1000000} | near)
        for theta in np.logspace(-3, 8, thetas).astype("float32"):
            points += [(count, mean, theta) for count in counts]
    return torch.tensor(np.array(points, dtype="float32")).unbind(1)


@pytest.mark.parametrize(("dtype", "error"), [(torch.float32, 3e-6), (torch.float64, 1e-9)])
def test_log_probability_is_exact_over_all_magnitudes(dtype, error):
    counts, means, thetas = grid()
    truth = np.array([exact(*point) for point in zip(counts, means, thetas, strict=True)])
    found = nb_log_prob(counts.to(dtype), means.to(dtype), thetas.to(dtype)).double().numpy()
    assert (np.abs(found - truth) / np.abs(truth)).max() < error


def test_large_theta_is_poisson():
    # The naive float32 form gives -2.07 here, and more for theta = 1e7.
    counts, mean = torch.tensor([2.0, 3.0, 0.0]), torch.tensor([3.0, 3.0, 3.0])
    found = nb_log_prob(counts, mean, torch.tensor(1e8).expand(3))
    np.testing.assert_allclose(found, stats.poisson.logpmf([2, 3, 0], 3.0), rtol=1e-6)


def test_agrees_with_scipy_and_sums_to_one():
    counts = torch.arange(2000.0, dtype=torch.float64)
    for mean, theta in ((0.3, 0.5), (4.0, 3.5), (40.0, 30.0)):
        found = nb_log_prob(counts, torch.full_like(counts, mean), torch.tensor([theta]).double())
        truth = stats.nbinom.logpmf(counts.numpy(), theta, theta / (theta + mean))
        np.testing.assert_allclose(found, truth, rtol=1e-8)
        assert found.exp().sum().item() == pytest.approx(1, abs=1e-8)


def test_gradients_are_those_of_finite_differences():
    counts, means, thetas = (v.double() for v in grid(7, 8))
    keep = counts < 1e5  # the differences of larger ones have no digits left
    counts, log_mean, log_theta = counts[keep], means[keep].log(), thetas[keep].log()
    log_mean.requires_grad_()
    log_theta.requires_grad_()
    nb_log_prob(counts, log_mean.exp(), log_theta.exp()).sum().backward()
    step = 1e-5
    with torch.no_grad():
        for variable, other in ((log_mean, log_theta), (log_theta, log_mean)):

            def value(shift, variable=variable, other=other):
                pair = (variable + shift).exp(), other.exp()
                return nb_log_prob(counts, *(pair if variable is log_mean else pair[::-1]))

            difference = (value(step) - value(-step)) / (2 * step)
            scale = 1e-6 * (1 + value(0).abs())  # rounding of the values
            assert ((variable.grad - difference).abs() < 1e-4 * difference.abs() + scale).all()


def test_float32_gradients_are_finite_and_near_those_of_float64():
    found = {}
    for dtype in (torch.float32, torch.float64):
        counts, means, thetas = (v.to(dtype) for v in grid())
        means.requires_grad_()
        thetas.requires_grad_()
        nb_log_prob(counts, means, thetas).sum().backward()
        found[dtype] = (means.grad * means).double(), (thetas.grad * thetas).double()
    size = torch.stack(grid()).sum(0).double()
    for single, double in zip(*found.values(), strict=True):
        assert single.isfinite().all()
        assert ((single - double).abs() <= 1e-5 * double.abs() + 1e-6 * size).all()


def test_a_mean_that_has_underflowed_stays_finite():
    mean = torch.tensor([0.0, 0.0, 1e-40], requires_grad=True)
    theta = torch.tensor([1e-3, 1.0, 1e6], requires_grad=True)
    found = nb_log_prob(torch.tensor([3.0, 0.0, 1.0]), mean, theta)
    (found.sum()).backward()
    assert found.isfinite().all()
    assert found[1] == 0
    assert (mean.grad * mean).isfinite().all()
    assert theta.grad.isfinite().all()


def test_theta_broadcasts_over_cells_and_its_gradient_sums_over_them():
    torch.manual_seed(0)
    counts = torch.poisson(torch.full((6, 5), 1.5, dtype=torch.float64))
    mean = torch.rand(6, 5).double() + 0.1
    theta = (torch.rand(5).double() + 0.5).requires_grad_()
    wide = theta.detach().expand(6, 5).clone().requires_grad_()
    weight = torch.rand(6, 5).double()
    narrow = nb_log_prob(counts, mean, theta)
    torch.testing.assert_close(narrow, nb_log_prob(counts, mean, wide))
    (narrow * weight).sum().backward()
    (nb_log_prob(counts, mean, wide) * weight).sum().backward()
    torch.testing.assert_close(theta.grad, wide.grad.sum(0))


def test_bounded_theta_stays_in_its_range_and_has_an_inverse():
    ends = bounded_theta(torch.tensor([-1e4, 1e4]))
    torch.testing.assert_close(ends, torch.tensor(THETA), rtol=1e-4, atol=0)
    theta = torch.tensor([1e-2, 0.5, 1.0, 30.0, 1e4])
    torch.testing.assert_close(bounded_theta(theta_parameter(theta)), theta, rtol=1e-4, atol=0)
    assert theta_parameter(torch.tensor([1e-12, 1e12])).isfinite().all()
