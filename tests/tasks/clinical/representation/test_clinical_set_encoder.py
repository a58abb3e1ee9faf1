"""Sets of events as vectors: order, values, odd sizes."""

from __future__ import annotations

import time

import pytest
import torch
from clinical_models import doubled, records_of, stage1_model, stage1_settings

from weir.tasks.clinical.representation.decoder import FAR, ValueCodes, mixed
from weir.tasks.clinical.representation.set_encoder import AttentionEncoder, PoolingEncoder

ENCODERS = {
    "pooling": lambda: PoolingEncoder(9, 5, 16),
    "attention": lambda: AttentionEncoder(9, 5, 16, 1, 2, 0.0),
}


@pytest.mark.parametrize("kind", ENCODERS)
def test_the_order_of_a_sets_events_does_not_matter(kind: str):
    torch.manual_seed(0)
    encoder = ENCODERS[kind]().double()
    records = doubled(records_of([[5, 2], [3]], 2))
    order = torch.tensor([4, 2, 0, 1, 3, 6, 5, 9, 7, 8])
    shuffled = records._replace(
        code=records.code[order], value=records.value[order], measured=records.measured[order]
    )
    torch.testing.assert_close(encoder(shuffled), encoder(records), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("kind", ENCODERS)
def test_code_value_and_number_of_events_all_matter(kind: str):
    """Also where the standardised value is 0, and where there is none."""
    torch.manual_seed(0)
    encoder = ENCODERS[kind]()
    one = records_of([[1]], 2)
    base = one._replace(
        code=torch.tensor([1]), value=torch.zeros(1), measured=torch.ones(1, dtype=torch.bool)
    )
    other_code = base._replace(code=torch.tensor([2]))
    no_value = base._replace(measured=torch.zeros(1, dtype=torch.bool))
    higher = base._replace(value=torch.ones(1))
    unknown = no_value._replace(code=torch.tensor([0]))
    twice = base._replace(
        **{n: getattr(base, n).repeat(2) for n in ("code", "value", "measured", "event_set")}
    )
    vectors = [encoder(x)[0] for x in (base, other_code, no_value, higher, unknown, twice)]
    for i, left in enumerate(vectors):
        for right in vectors[:i]:
            assert (left - right).abs().max() > 1e-2


def test_values_between_knots_are_mixtures_and_beyond_them_clipped():
    codes = ValueCodes(3, 4)
    codes.knots[2] = torch.tensor([-1.0, 0.0, 2.0, 2.0 + FAR])
    table = torch.arange(15.0)[:, None] ** 2
    records = records_of([[6]], 1)._replace(
        code=torch.tensor([2] * 6),
        value=torch.tensor([-9.0, -1.0, -0.25, 1.0, 2.0, 50.0]),
        measured=torch.tensor([True] * 6),
    )
    found = mixed(table, codes(records))[:, 0]
    # Row 10 is of the code without a value, 11 to 14 of its knots.
    expected = [121.0, 121.0, 0.25 * 121 + 0.75 * 144, (144 + 169) / 2, 169.0]
    torch.testing.assert_close(found[:5], torch.tensor(expected))
    torch.testing.assert_close(found[5], torch.tensor(169.0), atol=2.0, rtol=0)
    records = records._replace(measured=torch.zeros(6, dtype=torch.bool))
    assert (mixed(table, codes(records)) == 100).all()


def test_knots_are_quantiles_of_training_values(tiny_clinical):
    codes = ValueCodes(9, 5)
    train = tiny_clinical.split("train")
    codes.fit(train)
    batch = train.batch(torch.arange(len(train)))
    values = batch.value[batch.code == 1]
    expected = torch.quantile(values, torch.linspace(0.005, 0.995, 5), interpolation="nearest")
    torch.testing.assert_close(codes.knots[1], expected)
    assert (codes.knots.diff(dim=1) > 0).all()
    untouched = torch.linspace(-2, 2, 5)
    for without_values in (0, 6, 7, 8):
        torch.testing.assert_close(codes.knots[without_values], untouched)


@pytest.mark.parametrize("kind", ENCODERS)
def test_odd_batches(tiny_clinical, kind: str):
    """No record has sets; one event; 100,000 events in one set, or in sets of their own."""
    config = stage1_settings({"set_encoder": kind})
    model = stage1_model(tiny_clinical, config).eval()
    statics = len(tiny_clinical.schema.static)
    for sizes in ([[], []], [[1]], [[], [1], []]):
        batch = records_of(sizes, statics)
        risk = model.risk(batch)
        assert risk.shape == (len(sizes),) and risk.isfinite().all()
        assert model.encode(batch).mean.shape == (sum(map(len, sizes)), 6)
        assert model.represent(batch).shape == (len(sizes), model.features)
    started = time.monotonic()
    with torch.no_grad():
        large = records_of([[100_000], [2, 3]], statics)
        assert model.risk(large).isfinite().all()
    assert time.monotonic() - started < 30


def test_a_record_does_not_depend_on_its_neighbours(tiny_clinical):
    config = stage1_settings()
    model = stage1_model(tiny_clinical, config).eval()
    test = tiny_clinical.split("test")
    together = model.risk(test.batch(torch.arange(10)))
    alone = torch.cat([model.risk(test.batch(torch.tensor([i]))) for i in range(10)])
    torch.testing.assert_close(together, alone, rtol=1e-4, atol=1e-5)
