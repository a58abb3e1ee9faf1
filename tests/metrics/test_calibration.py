"""Calibration of perfect, overconfident and degenerate ensembles."""

import math
from itertools import pairwise

import pytest
import torch

from weir.metrics.calibration import (
    covered,
    histogram,
    pit,
    reliability,
    spread,
    spread_ratio,
    spread_skill,
)
from weir.metrics.ensembles import order


def normal(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize("members", [19, 99])
@pytest.mark.parametrize("level", [0.5, 0.9])
def test_a_perfect_ensemble_covers_exactly_its_level(members: int, level: float) -> None:
    """Leave each of m + 1 exchangeable values out in turn: it is covered in `level` of the turns.

    Values are 0..m, so this is the whole law of the rank, without chance.
    """
    values = torch.arange(members + 1.0)
    rest = torch.stack([torch.cat([values[:i], values[i + 1 :]]) for i in range(members + 1)])
    share = covered(rest, values, level).double().mean()
    assert float(share) == pytest.approx(level, abs=1e-12)


@pytest.mark.parametrize(("level", "tolerance"), [(0.5, 0.004), (0.9, 0.0025)])
def test_a_hundred_members_cover_their_level(level: float, tolerance: float) -> None:
    truth, samples = normal(200_000), normal(200_000, 100, seed=1)
    assert float(covered(order(samples), truth, level).double().mean()) == pytest.approx(
        level, abs=tolerance
    )


def test_overconfident_intervals_cover_too_little() -> None:
    truth, samples = normal(20_000), 0.5 * normal(20_000, 99, seed=1)
    share = covered(order(samples), truth, 0.9).double().mean()
    assert float(share) == pytest.approx(math.erf(0.5 * 1.6449 / math.sqrt(2)), abs=0.02)


def test_pit_of_a_perfect_ensemble_is_uniform() -> None:
    generator = torch.Generator().manual_seed(0)
    values = pit(normal(40_000, 9, seed=1), normal(40_000), generator)
    counts = histogram(values, bins=20)
    assert counts.sum() == 40_000
    assert (counts - 2000).abs().max() < 5 * math.sqrt(2000)
    levels = torch.linspace(0, 1, 11, dtype=values.dtype)
    assert (reliability(values, levels) - levels).abs().max() < 0.012


def test_pit_of_ties_is_spread_over_them() -> None:
    """Counts are discrete: truth and members all zero must still give a uniform PIT."""
    generator = torch.Generator().manual_seed(0)
    values = pit(torch.zeros(20_000, 4), torch.zeros(20_000), generator)
    assert (histogram(values, 10) - 2000).abs().max() < 5 * math.sqrt(2000)


def test_pit_lies_in_the_cell_of_its_rank() -> None:
    samples = torch.tensor([1.0, 2.0, 3.0]).expand(4, 3)
    values = pit(samples, torch.tensor([0.5, 1.5, 2.5, 3.5]))
    for value, (low, high) in zip(values, pairwise([0, 0.25, 0.5, 0.75, 1]), strict=True):
        assert low <= value <= high


def test_pit_of_ordered_members_is_the_same() -> None:
    samples, truth = normal(50, 7).round(), normal(50, seed=1).round()
    plain = pit(samples, truth, torch.Generator().manual_seed(0))
    quick = pit(order(samples), truth, torch.Generator().manual_seed(0), ordered=True)
    torch.testing.assert_close(quick, plain)


def test_reliability_by_hand() -> None:
    shares = reliability(torch.tensor([0.1, 0.2, 0.3, 0.9]), torch.tensor([0.0, 0.25, 1.0]))
    assert shares.tolist() == [0.0, 0.5, 1.0]


def test_spread_is_the_root_mean_variance() -> None:
    samples = torch.tensor([[0.0, 2.0], [0.0, 4.0]])
    assert float(spread(samples)) == pytest.approx(math.sqrt((2 + 8) / 2))


def test_spread_ratio_of_a_shrunken_forecast() -> None:
    truth = normal(50_000)
    signal, noise = 0.8 * truth, 0.6 * normal(50_000, 4, seed=1)
    assert float(spread_ratio(signal[:, None] + noise, truth)) == pytest.approx(1.0, abs=0.01)
    assert float(spread_ratio(0.7 * (signal[:, None] + noise), truth)) == pytest.approx(
        0.7, abs=0.01
    )


@pytest.mark.parametrize("members", [3, 50])
def test_spread_skill_of_an_honest_ensemble_is_one_whatever_its_size(members: int) -> None:
    centre, truth = normal(60_000), normal(60_000, seed=1)
    samples = centre[:, None] + normal(60_000, members, seed=2)
    assert float(spread_skill(samples, centre + truth)) == pytest.approx(1.0, abs=0.015)
    assert float(spread_skill(samples, centre + 2 * truth)) < 0.75
