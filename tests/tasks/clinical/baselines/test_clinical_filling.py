"""Baselines that fill in, against what they are by definition."""

from __future__ import annotations

import math

import pytest
import torch
from clinical_records import records

from weir.tasks.clinical.baselines.filling import FillBaseline, LastValue, MeanByHour
from weir.tasks.clinical.baselines.gaussian_process import GaussianProcess
from weir.tasks.clinical.data.load import ClinicalData

HIDDEN = torch.tensor([[False, False, True, True]])


def test_the_last_value_is_carried_into_hidden_bins():
    model = LastValue(2, 4, 8.0)
    model.centre[:, 1] = torch.tensor([0.1, 0.2, 0.3, 0.4])
    model.error[:, 0] = torch.tensor([1.0, 2.0] + [3.0] * 6)
    shown = records([(0, 0.0, 1, 1.0), (0, 3.0, 1, 5.0), (0, 5.0, 1, 9.0), (0, 7.0, 2, 9.0)], 1)
    found = model.fill(shown, HIDDEN, 4000, generator=torch.Generator().manual_seed(0))
    assert found.bin.tolist() == [2, 3]
    # Code 1: the value at hour 3, not that of the hidden bin; code 2 was never shown.
    torch.testing.assert_close(found.mean, torch.tensor([[5.0, 0.3], [5.0, 0.4]]))
    sd = found.samples.std(1)
    torch.testing.assert_close(sd[:, 0], torch.tensor([1.0, 2.0]), atol=0.1, rtol=0)
    torch.testing.assert_close(found.samples.mean(1), found.mean, atol=0.15, rtol=0)


def test_single_hidden_values_are_not_looked_at_but_those_beside_are():
    model = LastValue(2, 4, 8.0)
    shown = records([(0, 3.0, 1, 5.0), (0, 5.0, 1, 9.0), (0, 5.0, 2, 7.0)], 1)
    hidden = torch.zeros(1, 4, 3, dtype=torch.bool)
    hidden[0, 2, 1] = True
    found = model.fill(shown, hidden, 2)
    assert found.bin.tolist() == [2]
    assert found.asked.tolist() == [[True, False]]
    assert found.mean.tolist() == [[5.0, 7.0]]


def test_means_by_hour_are_those_of_training(tiny_clinical: ClinicalData):
    train = tiny_clinical.split("train")
    model = MeanByHour(len(tiny_clinical.schema.codes), 4)
    model.fit(tiny_clinical, 0)
    batch = train.batch(torch.arange(len(train)))
    assert model.grid.hours == tiny_clinical.schema.horizon_hours
    place = model.grid.bin(batch.time)[batch.event_set]
    use = (batch.code == 1) & (place == 1)
    owner = batch.set_record[batch.event_set][use]
    means = torch.stack([batch.value[use][owner == record].mean() for record in owner.unique()])
    # As if ten more values were the code's mean, which is 0.
    wanted = float(means.sum()) / (len(means) + 10)
    assert float(model.centre[1, 0]) == pytest.approx(wanted, abs=1e-4)
    events = float(use.sum()) / float((batch.end > 6).sum())
    assert float(model.rate[1, 0]) == pytest.approx(events, rel=1e-4)


def test_errors_of_carried_values_grow_with_their_age():
    """Of a random walk the error after n bins has deviation sqrt(n)."""
    model = LastValue(1, 6, 6.0)
    steps = torch.randn(3000, 6, 1, generator=torch.Generator().manual_seed(0)).cumsum(1)
    model.learn([(steps.half(), torch.ones(3000, 6, 1, dtype=torch.bool))])
    wanted = torch.arange(1, 6).sqrt()
    torch.testing.assert_close(model.error[:5, 0], wanted, atol=0.07, rtol=0)


def process(kernel: str = "ou") -> GaussianProcess:
    model = GaussianProcess(1, 4, 8.0, kernel=kernel)
    model.log_kernel.copy_(torch.tensor([[0.3, 0.5, 0.2, 2.0]]).log())
    return model


@pytest.mark.parametrize("kernel", ["ou", "matern"])
def test_a_process_predicts_by_the_closed_form(kernel: str):
    model = process(kernel)
    shown = records([(0, 0.0, 1, 1.0), (0, 3.0, 1, 2.0), (0, 5.0, 1, 9.0)], 1)
    found = model.fill(shown, HIDDEN, 20_000, generator=torch.Generator().manual_seed(0))

    def k(apart: float) -> float:
        x = apart / 2.0
        if kernel == "ou":
            return 0.3 + 0.5 * math.exp(-x)
        return 0.3 + 0.5 * (1 + math.sqrt(3) * x) * math.exp(-math.sqrt(3) * x)

    gram = torch.tensor([[k(0) + 0.2, k(1)], [k(1), k(0) + 0.2]])
    across = torch.tensor([[k(2), k(3)], [k(1), k(2)]])
    weights = torch.linalg.solve(gram, across)
    mean = weights.T @ torch.tensor([1.0, 2.0])
    left = torch.tensor([[k(0), k(1)], [k(1), k(0)]]) - across.T @ weights + 0.2 * torch.eye(2)
    torch.testing.assert_close(found.mean[:, 0], mean, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(found.samples[..., 0].cov(), left, atol=0.03, rtol=0)


def test_kernels_are_found_again():
    """Records of a level of variance 1 and noise of variance .25, and hardly any process."""
    generator = torch.Generator().manual_seed(0)
    level = torch.randn(400, 1, 1, generator=generator)
    value = level + 0.5 * torch.randn(400, 6, 1, generator=generator)
    model = GaussianProcess(1, 6, 6.0)
    model.learn([(value.half(), torch.ones(400, 6, 1, dtype=torch.bool))])
    level, process, noise, _ = model.log_kernel[0].exp().tolist()
    assert 0.6 < level < 1.5
    assert process < 0.2
    assert 0.15 < noise < 0.35


def test_a_baseline_is_saved_and_says_nothing_of_the_outcome(tiny_clinical: ClinicalData):
    model: FillBaseline = LastValue(8, 4)
    model.fit(tiny_clinical, 0)
    again = LastValue(8, 4)
    again.load_state_dict(model.state_dict())
    assert again.grid == model.grid
    assert not again.has_head
    with pytest.raises(TypeError, match="LastValue"):
        again.risk(tiny_clinical.split("test").batch(torch.arange(1)))
