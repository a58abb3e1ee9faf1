"""Classifier two-sample test on laws that are the same, apart, or differ only jointly."""

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier

from weir.metrics.two_sample import boosted_auc, classifier_two_sample_test


def test_samples_of_one_law_are_not_told_apart() -> None:
    a, b = np.random.default_rng(0).normal(size=(2, 1000, 4))
    result = classifier_two_sample_test(a, b)
    assert abs(result.accuracy - 0.5) < 0.05
    assert result.p_value > 0.01
    assert result.items == 2000


def test_a_shift_is_found_as_well_as_it_can_be() -> None:
    a, b = np.random.default_rng(0).normal(size=(2, 1500, 2))
    result = classifier_two_sample_test(
        a, b + np.array([2.0, 0.0]), classifier=LogisticRegression()
    )
    assert result.accuracy == pytest.approx(0.8413, abs=0.03)  # Phi(1), the Bayes accuracy
    assert result.p_value < 1e-6


def test_a_wrong_correlation_is_found_though_margins_agree() -> None:
    a, b = np.random.default_rng(0).normal(size=(2, 1500, 2))
    b[:, 1] = 0.9 * b[:, 0] + np.sqrt(1 - 0.81) * b[:, 1]
    assert classifier_two_sample_test(a, b).accuracy > 0.65


def test_groups_stay_in_one_fold() -> None:
    """Three samples share each condition: a nearest neighbour seen in training gives it away."""
    conditions = np.random.default_rng(0).normal(size=(2, 300, 3))
    a, b = conditions.repeat(3, axis=1)
    groups = np.arange(300).repeat(3)
    nearest = KNeighborsClassifier(1)
    assert classifier_two_sample_test(a, b, classifier=nearest).accuracy > 0.9
    apart = classifier_two_sample_test(a, b, classifier=nearest, groups=(groups, 300 + groups))
    assert abs(apart.accuracy - 0.5) < 0.1


def test_sets_of_different_size_are_refused() -> None:
    with pytest.raises(ValueError, match=r"\(3, 2\) and \(4, 2\)"):
        classifier_two_sample_test(np.ones((3, 2)), np.ones((4, 2)))


def test_boosting_ranks_as_well_as_it_can() -> None:
    a, b = np.random.default_rng(0).normal(size=(2, 1500, 2))
    assert boosted_auc(a, b) == pytest.approx(0.5, abs=0.04)
    # Of two normals whose means differ by 2: Phi(sqrt 2).
    found = boosted_auc(a, b + np.array([2.0, 0.0]), max_iter=40)
    assert found == pytest.approx(0.921, abs=0.02)
