"""Counts carried over to other means: same law, least change, the very counts if nothing moves."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import stats

from weir.tasks.perturb.carry import EDGE, _level, _quantile, carry_over


def law(mean: float, theta: float) -> object:
    return stats.nbinom(theta, theta / (theta + mean))


@pytest.mark.parametrize("theta", [0.3, 2.0, 50.0, 1e5])
@pytest.mark.parametrize("mean", [1e-3, 0.5, 7.0, 300.0])
def test_level_and_quantile_are_scipy_s(mean: float, theta: float) -> None:
    grid = torch.linspace(0.001, 0.999, 23, dtype=torch.float64)
    full = torch.full_like(grid, 1)
    found = _quantile(grid, mean * full, theta * full)
    np.testing.assert_array_equal(found.numpy(), law(mean, theta).ppf(grid.numpy()))
    inside = torch.full_like(grid, 0.25)
    expected = law(mean, theta).cdf(found - 1) + 0.25 * law(mean, theta).pmf(found)
    level = _level(found, mean * full, theta * full, inside)
    np.testing.assert_allclose(level.numpy(), expected.clip(EDGE, 1 - EDGE), rtol=1e-5)


def test_equal_means_give_back_the_very_counts() -> None:
    torch.manual_seed(0)
    mean = torch.rand(50, 7) * 20
    counts = torch.poisson(mean * 3)
    assert torch.equal(carry_over(counts, mean, mean.clone(), torch.ones(7)), counts)


@pytest.mark.parametrize(("before", "after"), [(0.4, 6.0), (9.0, 0.2), (3.0, 3.3), (400.0, 900.0)])
def test_carried_counts_follow_the_new_law(before: float, after: float) -> None:
    theta, size = 1.7, 4000
    random = np.random.default_rng(0)
    counts = torch.from_numpy(law(before, theta).rvs(size, random_state=random)).float()[:, None]
    made = carry_over(
        counts,
        torch.full_like(counts, before),
        torch.full_like(counts, after),
        torch.tensor([theta]),
        torch.Generator().manual_seed(0),
    )
    grid = np.arange(0, int(3 * after) + 5)
    share = (made <= torch.from_numpy(grid)).float().mean(0).numpy()
    assert np.abs(share - law(after, theta).cdf(grid)).max() < 0.04
    # Each keeps its rank, up to ties that the levels break at random.
    assert stats.spearmanr(made[:, 0], counts[:, 0]).statistic > 0.5


def test_order_of_cells_is_kept() -> None:
    counts = torch.arange(30.0)[:, None]
    made = carry_over(
        counts, torch.full_like(counts, 10), torch.full_like(counts, 25), torch.tensor([3.0])
    )
    assert (made[:, 0].diff() >= 0).all()


def test_counts_that_the_old_law_calls_impossible_stay_finite() -> None:
    counts = torch.tensor([[40.0, 0.0, 3.0]])
    before, after = torch.tensor([[1e-3, 300.0, 1e-6]]), torch.tensor([[4.0, 20.0, 50.0]])
    made = carry_over(counts, before, after, torch.tensor([1e5, 1e5, 1.0]))
    top = law(4.0, 1e5).ppf(1 - EDGE)
    assert torch.isfinite(made).all() and made[0, 0] == top and made[0, 1] < 20


def test_generator_decides() -> None:
    counts, theta = torch.ones(40, 5), torch.ones(5)
    one, again, other = (
        carry_over(counts, counts, 5 * counts, theta, torch.Generator().manual_seed(s))
        for s in (0, 0, 1)
    )
    assert torch.equal(one, again) and not torch.equal(one, other)
