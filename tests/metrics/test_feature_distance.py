"""Frechet and kernel distance, balls and neighbours against closed forms and brute force."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from weir.metrics.feature_distance import (
    frechet_distance,
    kernel_distance,
    manifold,
    nearest,
    radii,
)


def normal(*shape: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


def with_moments(mean: Tensor, covariance: Tensor, items: int = 50) -> Tensor:
    """`[item, feature]`: points with exactly these moments."""
    points = normal(items, len(mean))
    points = points - points.mean(0)
    white = points @ torch.linalg.inv(torch.linalg.cholesky(points.mT.cov())).mT
    return white @ torch.linalg.cholesky(covariance).mT + mean


def test_frechet_distance_of_gaussians_that_commute() -> None:
    """|m - n|^2 + sum (sqrt c - sqrt d)^2 for diagonal covariances."""
    mean, other = torch.tensor([0.0, 1, 2]).double(), torch.tensor([1.0, 1, 0]).double()
    x = with_moments(mean, torch.diag(torch.tensor([1.0, 4, 9]).double()))
    y = with_moments(other, torch.diag(torch.tensor([4.0, 4, 1]).double()))
    assert frechet_distance(x, y) == pytest.approx(1 + 4 + 1 + 0 + 4)


def test_frechet_distance_of_gaussians_that_do_not_commute() -> None:
    """Covariances diag(1, 4) turned by 45 degrees against diag(1, 4): tr (C D)^(1/2) of a 2 x 2
    matrix is sqrt(tr CD + 2 sqrt(det CD)), with tr CD = 12.5 and det CD = 16."""
    turn = torch.tensor([[1.0, -1], [1, 1]]).double() / math.sqrt(2)
    straight = torch.diag(torch.tensor([1.0, 4]).double())
    zero = torch.zeros(2).double()
    x, y = with_moments(zero, turn @ straight @ turn.mT), with_moments(zero, straight)
    assert frechet_distance(x, y) == pytest.approx(10 - 2 * math.sqrt(12.5 + 8))


def test_frechet_distance_is_exact_with_fewer_items_than_features() -> None:
    x = normal(5, 20)
    assert frechet_distance(x, x) == pytest.approx(0, abs=1e-6)
    assert frechet_distance(x, x + 0.1) == pytest.approx(20 * 0.01, abs=1e-6)


def test_one_item_has_no_moments() -> None:
    with pytest.raises(ValueError, match="two items"):
        frechet_distance(normal(1, 3), normal(5, 3))
    with pytest.raises(ValueError, match="two items"):
        kernel_distance(normal(1, 3), normal(5, 3))


@given(st.integers(2, 8), st.integers(2, 8), st.integers(1, 4), st.integers(0, 100))
def test_kernel_distance_is_its_definition(n: int, m: int, features: int, seed: int) -> None:
    x, y = normal(n, features, seed=seed), 1 + normal(m, features, seed=seed + 1)

    def mean(a: Tensor, b: Tensor) -> float:
        values = [
            float(p @ q / features + 1) ** 3
            for i, p in enumerate(a)
            for j, q in enumerate(b)
            if a is not b or i != j
        ]
        return sum(values) / len(values)

    expected = mean(x, x) + mean(y, y) - 2 * mean(x, y)
    assert kernel_distance(x, y) == pytest.approx(expected, abs=1e-9, rel=1e-9)


def test_kernel_distance_does_not_depend_on_the_number_of_items() -> None:
    """One law: zero within its error, unlike the Frechet distance, which is biased upwards."""
    values = [
        kernel_distance(normal(60, 4, seed=s), normal(60, 4, seed=s + 500)) for s in range(80)
    ]
    error = torch.tensor(values).std() / math.sqrt(80)
    assert abs(sum(values) / 80) < 3 * float(error)


def test_kernel_distance_of_strata_has_no_bias_either() -> None:
    """Two classes far apart, as many of each in both sets, by no accident."""
    label = torch.arange(40) % 2

    def drawn(seed: int) -> Tensor:
        return normal(40, 2, seed=seed) + 2 * label[:, None]

    pairs = [(drawn(s), drawn(s + 500)) for s in range(80)]
    values = torch.tensor([kernel_distance(*p, x_strata=label, y_strata=label) for p in pairs])
    naive = torch.tensor([kernel_distance(*p) for p in pairs])
    assert abs(float(values.mean())) < 3 * float(values.std()) / math.sqrt(80)
    assert float(naive.mean()) < -3 * float(naive.std()) / math.sqrt(80)


def test_neighbours_are_those_of_brute_force() -> None:
    """More points than a block has, and far from the origin."""
    x, y = 100 + normal(600, 3), 100 + normal(700, 3, seed=1)
    distances = torch.cdist(x, y, compute_mode="donot_use_mm_for_euclid_dist")
    found, index = nearest(x.float(), y.float())
    torch.testing.assert_close(found.double(), distances.min(1).values, atol=1e-4, rtol=1e-4)
    assert (index == distances.min(1).indices).double().mean() > 0.99
    own = torch.cdist(y, y).fill_diagonal_(torch.inf).sort(dim=1).values
    torch.testing.assert_close(radii(y, 1, 4), own[:, [0, 3]])


def test_too_few_points_have_no_neighbour() -> None:
    with pytest.raises(ValueError, match="3 points have no neighbours"):
        radii(normal(3, 2), 3)


def test_balls_on_a_line() -> None:
    """Real items 0, 1, 2, 10 with balls to the nearest neighbour: radii 1, 1, 1, 8.

    The made 0.5 lies in the balls of 0 and 1, 3.5 in that of 10 only (which reaches from 2 to 18),
    -5 in none. Made radii are 3, 3 and 5.5: their balls [-2.5, 3.5], [.5, 6.5] and [-10.5, .5]
    hold 0, 1 and 2.
    """
    real = torch.tensor([0.0, 1, 2, 10])[:, None]
    made = torch.tensor([0.5, 3.5, -5])[:, None]
    found = manifold(real, made, near=1, dense=1)
    assert found.precision == pytest.approx(2 / 3)
    assert found.recall == pytest.approx(3 / 4)
    assert found.density == pytest.approx(3 / 3)
    assert found.coverage == pytest.approx(3 / 4)


def test_two_sets_of_one_law() -> None:
    """Naeem et al. 2020: density 1 and coverage 1 - 2^-k in expectation."""
    found = manifold(normal(2000, 8), normal(2000, 8, seed=1))
    assert found.density == pytest.approx(1, abs=0.06)
    assert found.coverage == pytest.approx(1 - 2**-5, abs=0.015)


def test_balls_see_what_is_missing_and_what_is_false() -> None:
    """A mode that is not made costs recall and coverage; one that is not real, precision."""
    shift = torch.tensor([20.0, 0.0])
    one, both = normal(200, 2, seed=2), torch.cat([normal(200, 2), normal(200, 2, seed=1) + shift])
    dropped, invented = manifold(both, one), manifold(one, both)
    assert dropped.precision > 0.9 and dropped.recall < 0.55 and dropped.coverage < 0.55
    assert invented.precision < 0.55 and invented.recall > 0.9 and invented.coverage > 0.9
