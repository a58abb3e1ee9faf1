"""Proper scores against closed forms, scoringrules, and the properties that define them."""

import math

import numpy as np
import pytest
import scoringrules
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from weir.metrics.ensembles import order, quantiles
from weir.metrics.scores import (
    crps,
    energy_score,
    quantile_loss,
    variogram_score,
    weighted_quantile_loss,
)


def normal(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def ensembles(dimension: int):
    """`[3, member, dimension]` ensembles with their truths `[3, dimension]`."""
    value = st.floats(-100, 100)
    return st.integers(2, 12).flatmap(
        lambda m: st.tuples(
            arrays(np.float64, (3, m, dimension), elements=value).map(torch.from_numpy),
            arrays(np.float64, (3, dimension), elements=value).map(torch.from_numpy),
        )
    )


def test_crps_is_that_of_scoringrules() -> None:
    samples, truth = normal(5, 4, 30), normal(5, 4, seed=1)
    expected = scoringrules.crps_ensemble(truth.numpy(), samples.numpy(), estimator="fair")
    np.testing.assert_allclose(crps(samples, truth), expected, rtol=1e-12)
    np.testing.assert_allclose(crps(order(samples), truth, ordered=True), expected, rtol=1e-12)


def test_crps_in_single_precision_is_that_in_double_at_a_high_level() -> None:
    samples, truth = normal(50, 100).float() + 1000, normal(50, seed=1).float() + 1000
    exact = crps(samples.double(), truth.double())
    torch.testing.assert_close(crps(samples, truth).double(), exact, rtol=0, atol=1e-5)


@pytest.mark.parametrize("members", [2, 5, 100])
def test_crps_of_a_gaussian_ensemble_is_the_formula_whatever_its_size(members: int) -> None:
    mean, deviation, truth, forecasts = 0.4, 1.7, 1.5, 400_000 // members
    scores = crps(
        mean + deviation * normal(forecasts, members), torch.full((forecasts,), truth).double()
    )
    z = (truth - mean) / deviation
    density = math.exp(-z * z / 2) / math.sqrt(2 * math.pi)
    formula = deviation * (z * math.erf(z / math.sqrt(2)) + 2 * density - 1 / math.sqrt(math.pi))
    error = scores.std() / math.sqrt(forecasts)
    assert abs(scores.mean() - formula) < 4 * error


def test_the_plain_estimator_would_be_biased_by_what_the_fair_one_removes() -> None:
    samples, truth = normal(20_000, 10), normal(20_000, seed=1)
    plain = scoringrules.crps_ensemble(truth.numpy(), samples.numpy(), estimator="nrg")
    gini = 2 / math.sqrt(math.pi)
    assert float(plain.mean() - crps(samples, truth).mean()) == pytest.approx(gini / 20, rel=0.02)


def test_a_perfect_forecast_scores_zero() -> None:
    truth = normal(4, 3)
    same = truth[:, None].expand(4, 6, 3)
    assert energy_score(same, truth).abs().max() == 0
    assert variogram_score(same, truth).abs().max() < 1e-15
    assert crps(same.mT, truth).abs().max() == 0


def test_energy_score_is_that_of_scoringrules_in_any_chunk() -> None:
    samples, truth = normal(3, 4, 12, 6), normal(3, 4, 6, seed=1)
    expected = scoringrules.es_ensemble(truth.numpy(), samples.numpy(), estimator="fair")
    for chunk in (1, 5, 256):
        np.testing.assert_allclose(energy_score(samples, truth, chunk=chunk), expected, rtol=1e-10)


def test_energy_score_in_one_dimension_is_the_crps() -> None:
    samples, truth = normal(20, 15), normal(20, seed=1)
    torch.testing.assert_close(
        energy_score(samples[..., None], truth[:, None]), crps(samples, truth)
    )


def test_energy_score_keeps_its_digits_in_single_precision() -> None:
    """Gram matrices cancel: neither a high level nor equal members may cost accuracy."""
    samples = normal(4, 100, 672).float()
    samples[:, 50:] = samples[:, :50]
    samples, truth = samples + 30, normal(4, 672, seed=1).float() + 30
    exact = energy_score(samples.double(), truth.double())
    torch.testing.assert_close(energy_score(samples, truth).double(), exact, rtol=2e-5, atol=0)


def test_energy_score_of_two_points_by_hand() -> None:
    samples = torch.tensor([[3.0, 4.0], [0.0, 0.0]])
    assert energy_score(samples, torch.zeros(2)) == pytest.approx((5 + 0) / 2 - 5 / 2)


def test_variogram_score_is_that_of_scoringrules() -> None:
    samples, truth = normal(6, 15, 5), normal(6, 5, seed=1)
    expected = scoringrules.vs_ensemble(truth.numpy(), samples.numpy(), p=0.5)
    pairs = 5 * 4 / 2
    mean = variogram_score(samples, truth, fair=False)
    np.testing.assert_allclose(mean * 2 * pairs, expected, rtol=1e-10)
    cubic = scoringrules.vs_ensemble(truth.numpy(), samples.numpy(), p=1.5)
    mean = variogram_score(samples, truth, exponent=1.5, fair=False)
    np.testing.assert_allclose(mean * 2 * pairs, cubic, rtol=1e-10)


@pytest.mark.parametrize("exponent", [0.5, 1.0, 2.0])
def test_variogram_score_of_independent_gaussians_is_the_formula(exponent: float) -> None:
    """X_i - X_j is N(0, 2); the score of the true law is the variance of |y_i - y_j|^p."""

    def moment(power: float) -> float:
        return 2**power * math.gamma((power + 1) / 2) / math.sqrt(math.pi)

    samples, truth = normal(100_000, 4, 2), normal(100_000, 2, seed=1)
    scores = variogram_score(samples, truth, exponent=exponent)
    formula = moment(2 * exponent) - moment(exponent) ** 2
    assert abs(scores.mean() - formula) < 4 * scores.std() / math.sqrt(len(scores))


def test_variogram_score_of_chosen_pairs_and_weights() -> None:
    samples, truth = normal(2, 6, 4), normal(2, 4, seed=1)
    pairs = torch.tensor([[0, 2], [1, 3]])
    one = variogram_score(samples[..., :2], truth[..., :2])
    two = variogram_score(samples[..., 2:], truth[..., 2:])
    torch.testing.assert_close(variogram_score(samples, truth, pairs=pairs), (one + two) / 2)
    weights = torch.tensor([3.0, 1.0], dtype=torch.float64)
    weighted = variogram_score(samples, truth, pairs=pairs, weights=weights)
    torch.testing.assert_close(weighted, (3 * one + two) / 4)


def test_variogram_score_sees_the_sign_of_a_correlation() -> None:
    factor = torch.tensor([[1.0, 0.0], [0.9, math.sqrt(0.19)]]).double()
    truth = normal(2000, 2) @ factor.T
    right = normal(2000, 20, 2, seed=1) @ factor.T
    wrong = right * torch.tensor([1.0, -1.0])
    assert variogram_score(right, truth).mean() < 0.5 * variogram_score(wrong, truth).mean()


def test_weighted_quantile_loss_by_hand() -> None:
    samples, truth = torch.tensor([[0.0, 1.0, 2.0]]), torch.tensor([4.0])
    loss = weighted_quantile_loss(samples, truth, levels=(0.5, 0.75))
    assert float(loss) == pytest.approx((2 * 0.5 * 3 + 2 * 0.75 * 2.5) / 2 / 4)


def test_weighted_quantile_loss_is_that_of_numpy_quantiles() -> None:
    samples, truth = normal(7, 5, 100).numpy() + 3, normal(7, 5, seed=1).numpy() + 3
    losses = []
    for level in np.arange(1, 20) / 20:
        q = np.quantile(samples, level, axis=-1)
        losses.append(2 * np.abs((q - truth) * ((truth <= q) - level)).sum())
    expected = np.mean(losses) / np.abs(truth).sum()
    loss = weighted_quantile_loss(torch.from_numpy(samples), torch.from_numpy(truth))
    assert float(loss) == pytest.approx(expected, rel=1e-9)


def test_mean_quantile_loss_tends_to_the_crps() -> None:
    samples, truth = normal(4, 5000), normal(4, seed=1)
    levels = [(k + 0.5) / 400 for k in range(400)]
    losses = quantile_loss(order(samples), truth, levels).mean(dim=-1)
    torch.testing.assert_close(losses, crps(samples, truth), rtol=5e-3, atol=0)


@pytest.mark.parametrize("kind", ["weibull", "linear"])
@pytest.mark.parametrize("members", [1, 2, 7, 100])
def test_quantiles_are_those_of_numpy(kind: str, members: int) -> None:
    samples, levels = normal(3, members), (0.0, 0.05, 0.25, 0.5, 0.9, 1.0)
    expected = np.quantile(samples.numpy(), levels, axis=-1, method=kind)
    np.testing.assert_allclose(quantiles(order(samples), levels, kind).T, expected, atol=1e-5)


def test_order_sorts_members_of_any_layout() -> None:
    samples = normal(3, 8, 5).transpose(1, 2)
    torch.testing.assert_close(order(samples), samples.sort(dim=-1).values)


def test_one_member_has_no_fair_score() -> None:
    with pytest.raises(ValueError, match="at least two members, got 1"):
        crps(normal(3, 1), normal(3))
    with pytest.raises(ValueError, match="at least two members, got 1"):
        energy_score(normal(3, 1, 2), normal(3, 2))
    with pytest.raises(ValueError, match=r"0\.\.1, got 1\.5"):
        quantiles(normal(3, 4), [1.5])


@settings(max_examples=40, deadline=None)
@given(ensembles(3), st.randoms(use_true_random=False))
def test_members_may_come_in_any_order(drawn, random) -> None:
    samples, truth = drawn
    shuffled = samples[:, random.sample(range(samples.shape[1]), samples.shape[1])]
    for score in (energy_score, variogram_score):
        torch.testing.assert_close(score(shuffled, truth), score(samples, truth))
    torch.testing.assert_close(crps(shuffled.mT, truth), crps(samples.mT, truth))


@settings(max_examples=40, deadline=None)
@given(ensembles(3), st.floats(0.01, 50), st.floats(-50, 50))
def test_scores_follow_the_unit_and_ignore_the_origin(drawn, unit: float, origin: float) -> None:
    samples, truth = drawn
    moved, there = unit * samples + origin, unit * truth + origin
    close = {"rtol": 1e-6, "atol": 1e-6 * unit + 1e-9}
    torch.testing.assert_close(crps(moved.mT, there), unit * crps(samples.mT, truth), **close)
    torch.testing.assert_close(
        energy_score(moved, there), unit * energy_score(samples, truth), **close
    )
    # A square root near zero has few digits: |x|^.5 of a rounding error of 1e-13 is 3e-7.
    torch.testing.assert_close(
        variogram_score(moved, there),
        unit * variogram_score(samples, truth),
        rtol=1e-4,
        atol=1e-4 * unit + 1e-5,
    )


@settings(max_examples=20, deadline=None)
@given(st.floats(-2, 2), st.floats(0.3, 3))
def test_no_other_gaussian_beats_the_true_one(shift: float, scale: float) -> None:
    """Propriety, with the same random numbers on both sides so that little noise is left."""
    truth, draws = normal(4000, 2), normal(4000, 10, 2, seed=1)
    other = shift + scale * draws
    for score in (energy_score, lambda x, y: crps(x.mT, y).mean(dim=-1), variogram_score):
        difference = score(other, truth) - score(draws, truth)
        assert difference.mean() > -4 * difference.std() / math.sqrt(len(truth))


def test_overconfidence_and_excess_spread_both_cost() -> None:
    truth, draws = normal(20_000), normal(20_000, 10, seed=1)
    right = crps(draws, truth).mean()
    assert crps(0.5 * draws, truth).mean() > right + 0.02
    assert crps(2.0 * draws, truth).mean() > right + 0.02
