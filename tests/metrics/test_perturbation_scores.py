"""Scores of predicted responses against closed forms."""

import numpy as np
import pytest
import torch
from scipy import stats

from weir.metrics.perturbation import (
    correlation,
    determination,
    discrimination,
    overlap,
    top,
    welch_t,
)


def test_correlation_is_pearsons_and_zero_for_a_constant() -> None:
    a, b = torch.tensor([1.0, 2.0, 4.0, 3.0]), torch.tensor([2.0, 1.0, 5.0, 5.0])
    assert float(correlation(a, b)) == pytest.approx(np.corrcoef(a, b)[0, 1])
    assert float(correlation(a, 3 - 2 * a)) == pytest.approx(-1)
    assert float(correlation(a, torch.ones(4))) == 0


def test_determination_is_no_squared_correlation() -> None:
    truth = torch.tensor([0.0, 1.0, 2.0, 3.0])
    assert float(determination(truth, truth)) == 1
    assert float(determination(torch.full((4,), 1.5), truth)) == pytest.approx(0)
    # off by one everywhere: 1 - 4 / 5, though the correlation is one
    assert float(determination(truth + 1, truth)) == pytest.approx(0.2)
    assert float(determination(2 * truth, truth)) == pytest.approx(1 - 14 / 5)
    assert determination(truth, torch.ones(4)).isnan()


def test_welch_t_is_scipys() -> None:
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(12, 5)), 1 + 3 * rng.normal(size=(7, 5))
    moments = [torch.tensor(f) for f in (a.mean(0), a.var(0, ddof=1), b.mean(0), b.var(0, ddof=1))]
    found = welch_t(moments[0], moments[1], 12, moments[2], moments[3], 7)
    expected = stats.ttest_ind(a, b, equal_var=False).statistic
    np.testing.assert_allclose(found, expected, rtol=1e-10)


def test_a_gene_without_variance() -> None:
    zero = torch.zeros(2)
    found = welch_t(torch.tensor([1.0, 2.0]), zero, 5, torch.tensor([1.0, 1.0]), zero, 5)
    assert float(found[0]) == 0
    assert float(found[1]) > 1e6


def test_overlap_counts_common_genes_of_the_same_sign() -> None:
    truth = torch.tensor([5.0, -4.0, 3.0, 0.1, -0.2])
    predicted = torch.tensor([2.0, 6.0, 0.1, 0.2, -3.0])  # top three: genes 1, 4 and 0
    assert top(predicted, 3).tolist() == [1, 4, 0]
    assert overlap(predicted, truth, 3) == pytest.approx(1 / 3)  # gene 0; gene 1 has the wrong sign
    assert overlap(truth, truth, 3) == 1
    assert overlap(-truth, truth, 3) == 0


def test_discrimination_ranks_the_own_truth() -> None:
    candidates = torch.tensor([[0.0, 0.0], [1.0, 0.0], [3.0, 0.0]])
    assert discrimination(torch.tensor([0.9, 0.0]), candidates, 1) == 1
    assert discrimination(torch.tensor([0.4, 0.0]), candidates, 1) == pytest.approx(0.5)
    assert discrimination(torch.tensor([-1.0, 0.0]), candidates, 2) == 0
    assert discrimination(torch.tensor([0.5, 0.0]), candidates, 1) == pytest.approx(0.75)  # a tie
    with pytest.raises(ValueError, match="two candidates"):
        discrimination(torch.zeros(2), candidates[:1], 0)
