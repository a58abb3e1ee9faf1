"""Counts carried over to other means: same law, least change, the very counts if nothing moves."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import stats

from weir.tasks.perturb.flow.count_noise import EDGE, carry_over

MEANS = (1e-4, 0.01, 0.4, 3.0, 20.0, 80.0, 700.0, 1e5)
FACTORS = (0.1, 0.8, 1.05, 2.0, 10.0)


def law(mean: float, theta: float) -> object:
    return stats.nbinom(theta, theta / (theta + mean))


def distance(counts: np.ndarray, mean: float, theta: float) -> float:
    """Greatest difference from the law's distribution function."""
    values, times = np.unique(counts, return_counts=True)
    share, exact = times.cumsum() / len(counts), law(mean, theta)
    here, below = exact.cdf(values), exact.cdf(values - 1)
    before = np.concatenate([[0], share[:-1]])
    return max(np.abs(share - here).max(), np.abs(before - below).max())


def carried(means: np.ndarray, factor: float, theta: float, size: int) -> torch.Tensor:
    """Draws of the laws before, carried to means `factor` as large, `[size, mean]`."""
    random = np.random.default_rng(0)
    counts = torch.from_numpy(law(means, theta).rvs((size, len(means)), random_state=random))
    before = torch.from_numpy(means).float().expand(size, -1)
    shape = torch.full((len(means),), theta)
    generator = torch.Generator().manual_seed(0)
    return carry_over(counts.float(), before, factor * before, shape, generator)


def test_equal_means_give_back_the_very_counts() -> None:
    torch.manual_seed(0)
    mean = torch.rand(50, 7) * 20
    mean[0] *= 1e4
    counts = torch.poisson(mean * 3)
    assert torch.equal(carry_over(counts, mean, mean.clone(), torch.ones(7)), counts)


def test_genes_whose_means_do_not_move_keep_their_counts() -> None:
    torch.manual_seed(0)
    before = torch.rand(500, 4) * 5
    after = before.clone()
    after[:, 1] *= 3
    counts = torch.poisson(before)
    made = carry_over(counts, before, after, torch.ones(4))
    assert torch.equal(made[:, [0, 2, 3]], counts[:, [0, 2, 3]])
    assert not torch.equal(made[:, 1], counts[:, 1])


@pytest.mark.parametrize("theta", [1e-3, 0.05, 0.7, 2.9, 3.1, 20.0, 1e3, 1e8])
def test_carried_counts_follow_the_new_law(theta: float) -> None:
    size, means = 6000, np.array(MEANS)
    for factor in FACTORS:
        made = carried(means, factor, theta, size)
        assert torch.equal(made, made.round()) and made.min() >= 0
        for column, mean in enumerate(factor * means):
            # 1.95 standard units are exceeded by one sample in a thousand. Maps that cross the
            # border between small and large means are less exact.
            crosses = min(mean, mean / factor) < 64 < max(mean, mean / factor)
            allowed = 1.95 / size**0.5 + 0.01 * crosses
            found = distance(made[:, column].numpy(), mean, theta)
            assert found < allowed, (factor, mean, found)


@pytest.mark.parametrize("theta", [0.05, 0.7, 20.0, 1e8])
def test_small_counts_follow_the_new_law_by_chi_square(theta: float) -> None:
    size, means = 20_000, np.array([0.02, 0.3, 2.0])
    for factor in (0.5, 1.5):
        made = carried(means, factor, theta, size)
        for column, mean in enumerate(factor * means):
            p = law(mean, theta).pmf(np.arange(200))
            top = max(1, int((p * size > 10).sum()) - 1)
            seen = np.bincount(made[:, column].long().clamp(max=top), minlength=top + 1)
            expected = size * np.append(p[:top], 1 - p[:top].sum())
            assert stats.chisquare(seen, expected).pvalue > 1e-3, (factor, mean)


def test_changes_are_the_least_possible() -> None:
    before = torch.full((20_000, 1), 2.0)
    counts = torch.from_numpy(law(2.0, 1.5).rvs((20_000, 1), random_state=0)).float()
    made = carry_over(counts, before, 1.5 * before, torch.tensor([1.5]))
    assert (made >= counts).all()
    squares = (made - counts).square().mean()
    level = np.linspace(0, 1, 200_001)[1:-1]
    least = np.square(law(3.0, 1.5).ppf(level) - law(2.0, 1.5).ppf(level)).mean()
    assert squares == pytest.approx(least, rel=0.05)


@pytest.mark.parametrize("scale", [1.0, 20.0, 1000.0])
def test_order_of_cells_is_kept(scale: float) -> None:
    counts = torch.arange(1.0, 30.0)[:, None] * scale
    before, after = (torch.full_like(counts, m * scale) for m in (10, 25))
    for theta in (1.0, 5.0):
        made = carry_over(counts, before, after, torch.tensor([theta]))
        assert (made[:, 0].diff() >= 0).all()
        assert (made > counts).all()


def test_counts_that_the_old_law_calls_impossible_stay_finite() -> None:
    counts = torch.tensor([[40.0, 0.0, 3.0, 900.0]])
    before = torch.tensor([[1e-3, 300.0, 1e-6, 1e-3]])
    after = torch.tensor([[4.0, 20.0, 50.0, 100.0]])
    made = carry_over(counts, before, after, torch.tensor([1e5, 1e5, 1.0, 1e5]))[0]
    top = law(4.0, 1e5).ppf(1 - EDGE)
    assert torch.isfinite(made).all() and abs(made[0] - top) <= 1 and made[1] < 20
    assert made[2] <= law(50.0, 1.0).ppf(1 - EDGE / 100)
    assert made[3] <= law(100.0, 1e5).ppf(1 - EDGE / 100)


def test_generator_decides() -> None:
    counts, theta = torch.ones(40, 5), torch.ones(5)
    one, again, other = (
        carry_over(counts, counts, 5 * counts, theta, torch.Generator().manual_seed(s))
        for s in (0, 0, 1)
    )
    assert torch.equal(one, again) and not torch.equal(one, other)
    assert carry_over(counts[:0], counts[:0], counts[:0], theta).shape == (0, 5)
