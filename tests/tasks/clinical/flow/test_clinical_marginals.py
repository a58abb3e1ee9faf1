"""Normal scores of values: monotone, and back to values that were seen."""

from __future__ import annotations

import torch

from weir.tasks.clinical.data.load import ClinicalData
from weir.tasks.clinical.flow.marginals import Marginals


def test_scores_are_normal_and_lead_back(tiny_clinical: ClinicalData):
    train = tiny_clinical.split("train")
    marginals = Marginals(len(tiny_clinical.schema.codes))
    marginals.fit(train)
    records = train.batch(torch.arange(len(train)))
    use = records.measured & (records.code == 1)
    value, code = records.value[use], records.code[use]
    score = marginals.scores(value, code)
    assert abs(float(score.mean())) < 0.1
    assert abs(float(score.std()) - 1) < 0.1
    order = value.argsort()
    assert bool((score[order].diff() >= 0).all())
    # Inside the outermost quantiles little is lost; drawn values are measured ones.
    inner = score.abs() < 2
    dense = torch.zeros(len(score), len(tiny_clinical.schema.codes))
    dense[:, 0] = score
    back = marginals.dense_values(dense)[:, 0]
    torch.testing.assert_close(back[inner], value[inner], atol=1e-4, rtol=0)
    drawn = marginals.values(score, code)
    assert bool(torch.isin(drawn, value).all())
    assert float((drawn - value)[inner].abs().mean()) < 0.05


def test_a_code_of_few_levels_gets_only_these():
    marginals = Marginals(1)
    levels = torch.tensor([-1.0, 0.0, 2.0])
    seen = levels[torch.tensor([0] * 50 + [1] * 30 + [2] * 20)]
    marginals.take(1, seen)
    code = torch.ones(3, dtype=torch.int64)
    torch.testing.assert_close(marginals.values(marginals.scores(levels, code), code), levels)
    white = torch.randn(2000, generator=torch.Generator().manual_seed(0))
    made = marginals.values(white, torch.ones(2000, dtype=torch.int64))
    assert set(made.tolist()) <= set(levels.tolist())
    share = torch.stack([(made == level).double().mean() for level in levels])
    torch.testing.assert_close(share, torch.tensor([0.5, 0.3, 0.2]).double(), atol=0.04, rtol=0)


def test_expected_values_of_codes_with_a_normal_law():
    """Unfitted, scores are values: the mean is the mean, up to what the ends cut off."""
    marginals = Marginals(2)
    mean, sd = torch.tensor([[0.0, 0.5]]), torch.tensor([[0.5, 0.3]])
    torch.testing.assert_close(marginals.expected(mean, sd), mean, atol=1e-2, rtol=0)


def test_expected_value_of_a_skewed_code():
    marginals = Marginals(1)
    draws = torch.randn(20_000, generator=torch.Generator().manual_seed(1)).exp()
    marginals.take(1, draws)
    got = marginals.expected(torch.zeros(1, 1), torch.ones(1, 1))
    # exp(1/2), less the tail beyond the outermost quantile.
    assert abs(float(got) - 1.6) < 0.1
