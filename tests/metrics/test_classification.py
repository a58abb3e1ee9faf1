"""Scores of probabilities against scikit-learn, brute force and closed forms."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, brier_score_loss, roc_auc_score

from weir.metrics.classification import (
    accuracy,
    auprc,
    auroc,
    bootstrap_weights,
    brier,
    calibration_error,
    interval,
    reliability,
)

cases = st.lists(
    st.tuples(st.integers(0, 6), st.integers(0, 1), st.integers(0, 3)), min_size=2, max_size=40
)


@settings(max_examples=100, deadline=None)
@given(cases)
def test_areas_are_scikit_learns_with_ties_and_weights(items: list[tuple[int, int, int]]) -> None:
    score, outcome, weight = (torch.tensor(column) for column in zip(*items, strict=True))
    if (weight[outcome == 1]).sum() == 0 or (weight[outcome == 0]).sum() == 0:
        assert auroc(score.float(), outcome, weight).isnan()
        return
    arguments = outcome.numpy(), score.numpy()
    keywords = {"sample_weight": weight.numpy()}
    got = auroc(score.float(), outcome, weight).item()
    assert got == pytest.approx(roc_auc_score(*arguments, **keywords))
    got = auprc(score.float(), outcome, weight).item()
    assert got == pytest.approx(average_precision_score(*arguments, **keywords))


def test_auroc_counts_ordered_pairs() -> None:
    score, outcome = torch.tensor([0.1, 0.4, 0.4, 0.9]), torch.tensor([0, 0, 1, 1])
    assert auroc(score, outcome).item() == (0.5 + 1 + 1 + 1) / 4


def test_proper_scores_are_scikit_learns() -> None:
    generator = torch.Generator().manual_seed(0)
    probability = torch.rand(200, generator=generator)
    outcome = (torch.rand(200, generator=generator) < probability).long()
    y, p = outcome.numpy(), probability.double().numpy()
    assert brier(probability, outcome).item() == pytest.approx(brier_score_loss(y, p))
    assert accuracy(probability, outcome).item() == pytest.approx(((p >= 0.5) == y).mean())


def test_constant_prediction_is_off_by_the_difference_of_rates() -> None:
    outcome = torch.tensor([1, 0, 0, 0] * 50)
    found = calibration_error(torch.full((200,), 0.4), outcome, bins=1)
    assert found.item() == pytest.approx(0.15)


def test_calibrated_probabilities_err_by_the_noise_of_their_bins() -> None:
    generator = torch.Generator().manual_seed(0)
    errors = []
    for _ in range(200):
        outcome = (torch.rand(2000, generator=generator) < 0.2).long()
        jitter = 1e-6 * torch.rand(2000, generator=generator)
        errors.append(calibration_error(0.2 + jitter, outcome).item())
    assert np.mean(errors) == pytest.approx(math.sqrt(2 * 0.16 * 10 / (math.pi * 2000)), rel=0.06)


def test_bins_hold_equally_many_items_in_order() -> None:
    found = reliability(torch.tensor([0.9, 0.1, 0.2, 0.8]), torch.tensor([1, 0, 1, 1]), bins=2)
    assert found.predicted.tolist() == pytest.approx([0.15, 0.85])
    assert found.observed.tolist() == [0.5, 1.0]
    assert found.items.tolist() == [2.0, 2.0]


def test_equal_probabilities_stay_in_one_bin() -> None:
    outcome = torch.tensor([1, 0, 0, 0] * 50)
    found = reliability(torch.full((200,), 0.25), outcome)
    assert found.items.tolist() == [200.0]
    assert calibration_error(torch.full((200,), 0.25), outcome).item() == pytest.approx(0)
    stepped = torch.tensor([0.1] * 5 + [0.2] * 2 + [0.3] * 3)
    assert reliability(stepped, torch.zeros(10), bins=5).items.tolist() == [5.0, 2.0, 3.0]


def test_bootstrap_weights_resample_whole_sets() -> None:
    weights = bootstrap_weights(30, 500, seed=0)
    assert (weights.sum(-1) == 30).all()
    assert weights.var(0).mean().item() == pytest.approx(1 - 1 / 30, rel=0.1)


def test_bootstrap_interval_covers_the_standard_error_of_a_mean() -> None:
    outcome = torch.tensor([0, 1] * 200)
    values = brier(torch.zeros(400), outcome, bootstrap_weights(400, 2000, seed=1))
    low, high = interval(values)
    assert (high - low) / 2 == pytest.approx(1.96 * 0.5 / 20, rel=0.1)


def test_nan_scores_and_resamples_without_a_class_are_told() -> None:
    with pytest.raises(ValueError, match="NaN"):
        auroc(torch.tensor([math.nan, 0.0]), torch.tensor([0, 1]))
    with pytest.raises(ValueError, match="both classes"):
        interval(torch.tensor([math.nan]))
