"""Levels and quantiles by climbing against scipy's."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import stats

from weir.tasks.perturb.representation.nb_draws import (
    MOST,
    blocks,
    coarse,
    entries,
    level,
    quantile,
    refined,
)


def law(mean: float, theta: float) -> object:
    return stats.nbinom(theta, theta / (theta + mean))


@pytest.mark.parametrize("theta", [1e-3, 0.3, 2.0, 50.0, 1e4, 1e8])
@pytest.mark.parametrize("mean", [1e-4, 1e-2, 0.5, 7.0, 30.0])
def test_levels_and_quantiles_are_scipy_s(mean: float, theta: float) -> None:
    exact = law(mean, theta)
    counts = torch.arange(1.0, MOST)
    laws = entries(torch.full_like(counts, mean), torch.full_like(counts, theta))
    found = level(counts, torch.full_like(counts, 0.25), laws)
    k = counts.numpy()
    np.testing.assert_allclose(found, exact.cdf(k - 1) + 0.25 * exact.pmf(k), atol=2e-6)
    # Half way between the steps of the law, where rounding cannot decide.
    middle = (exact.cdf(k - 1) + exact.cdf(k)) / 2
    some = np.flatnonzero(exact.pmf(k) > 1e-5)
    rest = torch.from_numpy((middle - exact.cdf(0))[some]).float()
    reached, left = quantile(rest, laws.take(torch.from_numpy(some)))
    assert not len(left)
    np.testing.assert_array_equal(reached, k[some])


def test_entries_beyond_the_climb_are_named() -> None:
    mean, theta = torch.tensor([60.0, 60.0, 1.0]), torch.full((3,), 2.0)
    rest = torch.tensor([0.9, 0.1, 0.2])
    found, left = quantile(rest, entries(mean, theta))
    assert left.tolist() == [0] and found[0] == MOST and 1 <= found[1] < MOST
    further, none = quantile(rest, entries(mean, theta), 10_000)
    assert not len(none)
    assert further[0] == law(60.0, 2.0).ppf(0.9 + law(60.0, 2.0).pmf(0))


def test_no_entries_at_all() -> None:
    empty = torch.zeros(0)
    laws = entries(empty, empty)
    assert level(empty, empty, laws).shape == quantile(empty, laws)[0].shape == (0,)


def test_uniform_numbers_of_two_parts_are_uniform() -> None:
    generator = torch.Generator().manual_seed(0)
    first = coarse(torch.empty(400, 251), generator)
    assert len(first.unique()) == 256 and first.min() == 0 and first.max() == 255 / 256
    whole = refined(first.view(-1), generator)
    assert stats.kstest(whole.numpy(), "uniform").pvalue > 0.01
    assert abs(np.corrcoef(first[:-1].view(-1), first[1:].view(-1))[0, 1]) < 0.01


def test_blocks_cover_every_row_in_order() -> None:
    dense = torch.arange(3 * 50_000.0 * 2).view(2, 3, 50_000)
    places, parts = zip(*((place, part[0]) for place, part in blocks(dense)), strict=True)
    assert len(parts) > 1 and torch.equal(torch.cat(parts), dense.view(6, -1))
    assert all(part[0, 0] == place for place, part in zip(places, parts, strict=True))
