"""Fair scores as losses: brute force, unbiasedness, and agreement with scoringrules."""

from __future__ import annotations

import math

import numpy as np
import pytest
import scoringrules
import torch

from weir.flows.proper import fair_crps, fair_energy


def test_energy_equals_its_definition() -> None:
    torch.manual_seed(0)
    draws, truth = torch.randn(3, 4, 2, 5), torch.randn(3, 2, 2, 5)
    x, y = draws.flatten(2), truth.flatten(2)
    for c in range(3):
        accuracy = np.mean([float((a - b).norm()) for a in x[c] for b in y[c]])
        apart = np.mean([float((x[c, i] - x[c, j]).norm()) for i in range(4) for j in range(i)])
        assert float(fair_energy(draws, truth)[c]) == pytest.approx(accuracy - apart / 2, rel=1e-5)


def test_crps_agrees_with_scoringrules() -> None:
    torch.manual_seed(0)
    draws, truth = torch.randn(4, 6, 3), torch.randn(4, 1, 3)
    expected = scoringrules.crps_ensemble(
        truth[:, 0].numpy(), draws.numpy(), m_axis=1, estimator="fair"
    )
    np.testing.assert_allclose(fair_crps(draws, truth).numpy(), expected, atol=1e-6)


def test_scores_are_unbiased_from_two_draws_on() -> None:
    """For X, y ~ N(0, 1): E|X - y| - E|X - X'| / 2 = 1 / sqrt(pi), whatever the ensemble's size."""
    torch.manual_seed(0)
    for members in (2, 5):
        draws, truth = torch.randn(200_000, members, 1), torch.randn(200_000, 1, 1)
        for score in (fair_crps(draws, truth), fair_energy(draws, truth)):
            assert float(score.mean()) == pytest.approx(1 / math.sqrt(math.pi), abs=0.005)


def test_true_spread_scores_best() -> None:
    torch.manual_seed(0)
    truth, draws = torch.randn(20_000, 1, 3), torch.randn(20_000, 4, 3)
    scores = [float(fair_energy(draws * spread, truth).mean()) for spread in (0.5, 1.0, 1.6)]
    assert scores[1] < min(scores[0], scores[2])


def test_gradient_widens_a_collapsed_ensemble() -> None:
    torch.manual_seed(0)
    spread = torch.tensor(0.1, requires_grad=True)
    noise, truth = torch.randn(2000, 4, 3), torch.randn(2000, 1, 3)
    for score in (fair_energy, fair_crps):
        (gradient,) = torch.autograd.grad(score(spread * noise, truth).mean(), spread)
        assert gradient < 0


def test_one_draw_is_refused() -> None:
    with pytest.raises(ValueError, match="two draws"):
        fair_crps(torch.zeros(2, 1, 3), torch.zeros(2, 1, 3))
