"""Energy distance and MMD against brute force, closed forms and their unbiasedness."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from weir.metrics.distances import energy_distance, median_bandwidths, rbf_mmd
from weir.metrics.pairwise import mean_over_pairs, median_distance


def normal(*shape: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


def quantiles(points: int) -> Tensor:
    """`[point, 1]`: a standard normal law without sampling error."""
    levels = (torch.arange(points, dtype=torch.float64) + 0.5) / points
    return torch.special.ndtri(levels)[:, None]


def brute(function, x: Tensor, y: Tensor | None = None, groups: Tensor | None = None) -> float:
    other = x if y is None else y
    label = torch.arange(len(x)) if groups is None else groups
    values = [
        function(float((a - b).norm()))
        for i, a in enumerate(x)
        for j, b in enumerate(other)
        if y is not None or label[i] != label[j]
    ]
    return sum(values) / len(values)


@given(st.integers(2, 9), st.integers(2, 9), st.integers(1, 4), st.integers(0, 100))
def test_energy_distance_is_its_definition(n: int, m: int, dimension: int, seed: int) -> None:
    x, y = normal(n, dimension, seed=seed), 1 + normal(m, dimension, seed=seed + 1)

    def same(r: float) -> float:
        return r

    expected = 2 * brute(same, x, y) - brute(same, x) - brute(same, y)
    assert float(energy_distance(x, y)) == pytest.approx(expected, abs=1e-7)


def test_energy_distance_of_two_pairs_on_a_line() -> None:
    # |x - y|: 2, 3, 1, 2 -> mean 2; |x - x'| = |y - y'| = 1
    x, y = torch.tensor([[0.0], [1.0]]), torch.tensor([[2.0], [3.0]])
    assert float(energy_distance(x, y)) == pytest.approx(2 * 2 - 1 - 1)


def test_energy_distance_sees_a_spread_and_has_no_bias() -> None:
    """N(0, 1) and N(0, s^2): E|X - Y| = sqrt(2 (1 + s^2) / pi), E|X - X'| = 2 / sqrt(pi)."""
    x, y = quantiles(2000), 2 * quantiles(2000)
    expected = 2 * math.sqrt(2 * 5 / math.pi) - 2 / math.sqrt(math.pi) - 4 / math.sqrt(math.pi)
    assert float(energy_distance(x, y)) == pytest.approx(expected, abs=3e-3)
    draws = [
        float(energy_distance(normal(6, 3, seed=s), normal(5, 3, seed=s + 999))) for s in range(400)
    ]
    error = torch.tensor(draws).std() / math.sqrt(len(draws))
    assert abs(sum(draws) / len(draws)) < 3 * float(error)


def test_blocks_do_not_change_a_mean_over_pairs() -> None:
    x, y = normal(37, 3), normal(23, 3, seed=1)
    groups = torch.arange(37) % 5
    for more in ({"y": y}, {}, {"groups": groups}):
        whole = mean_over_pairs(torch.sqrt, x, **more)
        parts = mean_over_pairs(torch.sqrt, x, **more, block=8)
        assert float(parts) == pytest.approx(float(whole), abs=1e-12)
    assert float(mean_over_pairs(torch.sqrt, x, groups=groups)) == pytest.approx(
        brute(lambda r: r, x, groups=groups)
    )


def test_repeated_points_in_groups_leave_the_distance_alone() -> None:
    x, y = normal(20, 2), normal(30, 2, seed=1)
    again = energy_distance(x.repeat(4, 1), y, x_groups=torch.arange(20).repeat(4))
    assert float(again) == pytest.approx(float(energy_distance(x, y)), abs=1e-7)
    bandwidths = (0.5, 2.0)
    again = rbf_mmd(x.repeat(4, 1), y, bandwidths, x_groups=torch.arange(20).repeat(4))
    assert float(again) == pytest.approx(float(rbf_mmd(x, y, bandwidths)), abs=1e-6)


@given(st.integers(2, 8), st.integers(2, 8), st.integers(0, 100))
def test_mmd_is_its_definition(n: int, m: int, seed: int) -> None:
    x, y = normal(n, 2, seed=seed), 1 + normal(m, 2, seed=seed + 1)
    bandwidths = (0.5, 1.5)

    def kernel(r: float) -> float:
        return sum(math.exp(-r * r / (2 * b * b)) for b in bandwidths) / 2

    expected = brute(kernel, x) + brute(kernel, y) - 2 * brute(kernel, x, y)
    assert float(rbf_mmd(x, y, bandwidths)) == pytest.approx(expected, abs=1e-6)


def test_mmd_of_two_normal_laws() -> None:
    """E k = sqrt(b^2 / (b^2 + 2)) exp(-d^2 / (2 (b^2 + 2))) for N(0, 1) and N(d, 1)."""
    b, d = 1.0, 1.0
    expected = 2 * math.sqrt(b**2 / (b**2 + 2)) * (1 - math.exp(-(d**2) / (2 * (b**2 + 2))))
    found = rbf_mmd(quantiles(2000), d + quantiles(2000), [b])
    assert float(found) == pytest.approx(expected, abs=1e-3)


def test_bandwidths_are_multiples_of_the_median_distance() -> None:
    # distances 1, 3, 4: median 3
    points = torch.tensor([[0.0, 0.0], [1.0, 0.0], [4.0, 0.0]])
    assert float(median_distance(points)) == pytest.approx(3)
    assert median_bandwidths(points, (0.5, 2.0)) == pytest.approx((1.5, 6))
    with pytest.raises(ValueError, match="most points are alike"):
        median_bandwidths(torch.ones(5, 2))


def test_one_point_is_too_few() -> None:
    with pytest.raises(ValueError, match="at least one pair"):
        energy_distance(torch.zeros(1, 2), torch.zeros(3, 2))
