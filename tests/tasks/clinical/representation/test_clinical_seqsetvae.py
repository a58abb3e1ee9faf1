"""The model: laws of sets in closed form, time, what a state may know, what a head is told."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from clinical_models import doubled, records_of, stage1_model, stage1_settings
from scipy import stats

from weir.tasks.clinical.representation.decoder import SetDecoder, SetLaw, set_nll
from weir.tasks.clinical.representation.member_head import MemberHead
from weir.tasks.clinical.representation.seqsetvae import SetPosterior, code_counts
from weir.tasks.clinical.representation.sequence import Clock


def test_nll_is_that_of_poisson_counts_and_normal_values():
    records = doubled(records_of([[6, 1], [3]], 1, codes=4))
    generator = torch.Generator().manual_seed(2)
    law = SetLaw(*torch.randn(3, 3, 4, generator=generator, dtype=torch.float64))
    found = set_nll(law, records)
    for number in range(3):
        here = records.event_set == number
        count = np.bincount(records.code[here], minlength=4)
        rate = law.log_rate[number].exp()
        counts = -stats.poisson.logpmf(count, rate).sum()
        assert found.counts[number].item() == pytest.approx(counts)
        valued = here & records.measured
        code = records.code[valued]
        mean, sd = law.mean[number, code], law.log_sd[number, code].exp()
        values = -stats.norm.logpdf(records.value[valued], mean, sd).sum()
        assert found.values[number].item() == pytest.approx(values)
    shared = SetLaw(*(part[:1] for part in law))
    repeated = SetLaw(*(part[:1].expand(3, -1) for part in law))
    torch.testing.assert_close(set_nll(shared, records), set_nll(repeated, records))


def test_decoder_starts_at_the_training_rates(tiny_clinical):
    model = stage1_model(tiny_clinical, stage1_settings())
    train = tiny_clinical.split("train")
    batch = train.batch(torch.arange(len(train)))
    rate = model.decoder.output.bias[: model.codes].exp() * len(batch.time)
    expected = torch.bincount(batch.code, minlength=9) + 0.5
    torch.testing.assert_close(rate, expected, rtol=1e-4, atol=0)
    assert torch.equal(code_counts(batch, 9).sum(0), expected - 0.5)


def test_laws_in_clinical_units(tiny_clinical):
    law = SetLaw(torch.zeros(1, 9), torch.ones(1, 9), torch.zeros(1, 9)).clinical(
        tiny_clinical.schema
    )
    code = tiny_clinical.schema.codes[2]
    assert law.mean[0, 3].item() == pytest.approx(code.mean + code.sd)
    assert law.log_sd[0, 3].exp().item() == pytest.approx(code.sd)
    assert law.mean[0, 0] == 1


def test_rates_stay_finite():
    decoder = SetDecoder(2, 4, 3)
    with torch.no_grad():
        decoder.output.bias += 1e4
    assert decoder(torch.zeros(1, 2)).log_rate.exp().isfinite().all()


def test_kl_is_that_of_normal_laws():
    posterior = SetPosterior(torch.tensor([[0.3, -2.0]]), torch.tensor([[0.5, -1.0]]))
    law = torch.distributions.Normal(posterior.mean, (0.5 * posterior.log_variance).exp())
    prior = torch.distributions.Normal(torch.zeros(1, 2), torch.ones(1, 2))
    torch.testing.assert_close(posterior.kl(), torch.distributions.kl_divergence(law, prior))


def test_clock_tells_time_and_gap():
    records = records_of([[1, 1, 1], [], [2]], 1)._replace(time=torch.tensor([0.0, 1.5, 4.0, 7.0]))
    found = Clock(48.0)(records)
    assert found.shape == (4, Clock.features)
    torch.testing.assert_close(found[:, -1].expm1(), torch.tensor([0.0, 1.5, 2.5, 0.0]))
    torch.testing.assert_close(found[:, -2], records.time.log1p() / 4)
    fastest = found[1, 0], found[1, 8]
    torch.testing.assert_close(fastest[0], torch.tensor(math.sin(3 * math.pi)), atol=1e-5, rtol=0)
    torch.testing.assert_close(fastest[1], torch.tensor(math.cos(3 * math.pi)), atol=1e-5, rtol=0)


@pytest.mark.parametrize("sequence", ["gru", "transformer"])
@pytest.mark.parametrize("causal", [True, False])
def test_causal_states_know_no_later_set(tiny_clinical, sequence: str, causal: bool):
    config = stage1_settings({"sequence": sequence, "causal": causal})
    model = stage1_model(tiny_clinical, config).double().eval()
    records = doubled(records_of([[2, 1, 3, 1], [1, 1]], 2))
    z = torch.randn(6, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    changed = z.clone()
    changed[2] += 1
    moved = (model.states(changed, records) - model.states(z, records)).abs().amax(1) > 1e-9
    assert moved.tolist() == [not causal, not causal, True, True, False, False]


def test_representation_holds_static_features_and_counts(tiny_clinical):
    config = stage1_settings(summary=False, outcome={"weight": 0.0})
    model = stage1_model(tiny_clinical, config).eval()
    batch = tiny_clinical.split("test").batch(torch.arange(12))
    found = model.represent(batch)
    statics = batch.static.shape[1]
    torch.testing.assert_close(found[:, 32 : 32 + statics], batch.static)
    torch.testing.assert_close((2 * found[:, 32 + statics :]).expm1(), code_counts(batch, 9))
    assert not model.has_head
    with pytest.raises(ValueError, match="put a head on it"):
        model.risk(batch)


def test_untrained_members_differ_and_predict_the_prevalence():
    torch.manual_seed(0)
    head = MemberHead(5, 4, 16, 0.0, 0.0, prevalence=0.2)
    logits = head(torch.randn(50, 5))
    assert logits.shape == (50, 4) and logits.std(1).min() > 0
    with torch.no_grad():
        head.output.zero_()
    assert head(torch.randn(1, 5)).sigmoid().tolist() == [pytest.approx([0.2] * 4)]
