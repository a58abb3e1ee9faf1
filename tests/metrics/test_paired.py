"""Block bootstrap of paired differences."""

import numpy as np
import pytest

from weir.metrics.paired import paired_difference


def test_a_constant_difference_has_an_interval_without_width() -> None:
    b = np.linspace(1, 3, 50)
    result = paired_difference(b - 0.25, b, block=7)
    assert result.mean == pytest.approx(-0.25)
    assert (result.low, result.high) == pytest.approx((-0.25, -0.25))
    assert result.relative == pytest.approx(-0.125)
    assert result.significant


def test_equal_scores_do_not_differ() -> None:
    b = np.random.default_rng(0).normal(size=40)
    assert not paired_difference(b, b, block=5).significant


def test_nothing_is_relative_to_zero() -> None:
    assert np.isnan(paired_difference(np.ones(6), np.zeros(6), block=2).relative)


def test_of_independent_items_the_interval_is_that_of_the_t_test() -> None:
    difference = np.random.default_rng(0).normal(size=2000)
    result = paired_difference(difference, np.ones(2000), block=1, resamples=4000)
    assert result.high - result.low == pytest.approx(2 * 1.96 / np.sqrt(2000), rel=0.06)


def test_overlapping_items_need_blocks() -> None:
    """Moving sums over 20 steps: the true interval is about sqrt(20) times the naive one."""
    noise = np.random.default_rng(0).normal(size=4019)
    scores = np.convolve(noise, np.ones(20) / np.sqrt(20), mode="valid")
    other = np.ones_like(scores)
    naive = paired_difference(scores, other, block=1)
    block = paired_difference(scores, other, block=100)
    assert 3.3 < (block.high - block.low) / (naive.high - naive.low) < 5.2


def test_intervals_hold_as_often_as_promised() -> None:
    random = np.random.default_rng(1)
    held = 0
    for _ in range(200):
        noise = random.normal(size=1009)
        scores = np.convolve(noise, np.ones(10), mode="valid")
        result = paired_difference(scores + 1, np.ones(1000), block=50, level=0.9, resamples=300)
        held += not result.significant
    assert 0.8 < held / 200 < 0.96


def test_the_seed_decides_the_interval() -> None:
    a, b = np.random.default_rng(0).normal(size=(2, 60))
    assert paired_difference(a, b, block=6) == paired_difference(a, b, block=6)
    assert paired_difference(a, b, block=6) != paired_difference(a, b, block=6, seed=1)


def test_scores_of_other_items_are_refused() -> None:
    with pytest.raises(ValueError, match=r"\(3,\) and \(4,\)"):
        paired_difference(np.ones(3), np.ones(4), block=1)
