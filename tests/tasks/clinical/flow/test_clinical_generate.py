"""New records: well formed, as the law says, and read again by the ordinary reader."""

from __future__ import annotations

from pathlib import Path

import pyarrow.parquet as pq
import pytest
import torch
from clinical_flow import small_flow
from clinical_meds import run_preprocess

from weir.errors import UserError
from weir.tasks.clinical.data.load import ClinicalData
from weir.tasks.clinical.data.records import Records
from weir.tasks.clinical.flow.bin_decoder import BinDecoder, BinLaw, repeats
from weir.tasks.clinical.flow.grid import BinEvents, merge, tally
from weir.tasks.clinical.flow.neighbours import Neighbours, around
from weir.tasks.clinical.flow.synthesis import join, pack, synthesise
from weir.tasks.clinical.prediction.cohort import FIRST_SUBJECT, export


@pytest.fixture(scope="module")
def made(tiny_clinical: ClinicalData) -> Records:
    """A record for each training record."""
    train = tiny_clinical.split("train")
    flow = small_flow(tiny_clinical)
    generator = torch.Generator().manual_seed(0)
    return synthesise(flow, train.static, train.outcome, train.end, generator, steps=2, chunk=50)


def test_new_records_are_packed_and_end_in_time(made: Records, tiny_clinical: ClinicalData):
    assert bool((made.event_set.diff() >= 0).all()) and bool((made.set_record.diff() >= 0).all())
    assert made.event_set.unique().tolist() == list(range(len(made.time)))
    same = made.set_record.diff() == 0
    assert bool((made.time.diff()[same] > 0).all())
    first = torch.cat([torch.tensor([True]), ~same])
    assert bool((made.time[first] == 0).all())
    assert bool((made.time <= made.end[made.set_record] + 1e-4).all())
    assert int(made.code.min()) >= 1 and int(made.code.max()) <= len(tiny_clinical.schema.codes)
    # Codes that never have a value have none here.
    valued = torch.tensor([0, *(code.values for code in tiny_clinical.schema.codes)]) > 0
    assert torch.equal(made.measured, valued[made.code])
    assert bool((made.value[~made.measured] == 0).all())


def test_seeds_repeat_and_differ(tiny_clinical: ClinicalData):
    flow, train = small_flow(tiny_clinical), tiny_clinical.split("train")
    some = train.static[:5], train.outcome[:5], train.end[:5]
    runs = [
        flow.synthesise(*some, torch.Generator().manual_seed(seed), steps=1) for seed in (0, 0, 1)
    ]
    assert torch.equal(runs[0].value, runs[1].value)
    assert not torch.equal(runs[0].time, runs[2].time)


def test_outcomes_are_told_or_drawn_by_the_first_stages_risk(
    tiny_clinical: ClinicalData, monkeypatch: pytest.MonkeyPatch
) -> None:
    flow, train = small_flow(tiny_clinical), tiny_clinical.split("train")
    told = train.static[:4].repeat(50, 1), train.outcome[:4].repeat(50), train.end[:4].repeat(50)
    assert torch.equal(flow.synthesise(*told, steps=1).outcome, told[1])

    def parity(records: Records) -> torch.Tensor:
        """Certain death for whoever has an odd number of events."""
        owner = records.set_record[records.event_set]
        return 200.0 * (torch.bincount(owner, minlength=len(records.outcome)) % 2) - 100

    flow.outcomes = "drawn"
    monkeypatch.setattr(flow.vae, "risk", parity)
    made = flow.synthesise(*told, steps=1)
    assert torch.equal(made.outcome, (parity(made) > 0).float())
    assert 0 < made.outcome.mean() < 1
    monkeypatch.setattr(flow.vae, "risk", lambda r: torch.full_like(r.outcome, -1.0986))
    unknown = told[0], torch.full_like(told[1], torch.nan), told[2]
    drawn = flow.synthesise(*unknown, torch.Generator().manual_seed(0), steps=1).outcome
    assert set(drawn.tolist()) == {0.0, 1.0} and abs(float(drawn.mean()) - 0.25) < 0.1


def test_counts_are_drawn_by_their_law():
    decoder = BinDecoder(2, 4, 3, 5, 2, width=8, most=2)
    decoder.excess.copy_(torch.tensor([0.0, 0.0, 1.5]))
    share = torch.tensor([[0.5, 0.5, 1e-9], [1e-9, 1.0, 1e-9], [0.2, 0.3, 0.5]])
    law = BinLaw(share.log().expand(40_000, 3, 3), *torch.zeros(3, 40_000, 3))
    count = decoder.draw_counts(law, torch.Generator().manual_seed(0)).double()
    torch.testing.assert_close(
        count.mean(0), torch.tensor([0.5, 1.0, 0.3 + 0.5 * 3.5]).double(), atol=0.03, rtol=0
    )
    assert set(count[:, 1].tolist()) == {1.0}
    torch.testing.assert_close(
        decoder.expected_counts(law)[0], torch.tensor([0.5, 1.0, 2.05]), atol=1e-4, rtol=0
    )


def test_values_are_repeated_as_often_as_the_law_says(tiny_clinical: ClinicalData):
    flow, train = small_flow(tiny_clinical), tiny_clinical.split("train")
    same = slice(3 * flow.codes, None)
    torch.nn.init.zeros_(flow.decoder.value.weight[same])

    def unchanged(logit: float) -> float:
        """Share of the values of c0 that are those of the event before."""
        torch.nn.init.constant_(flow.decoder.value.bias[same], logit)
        found = flow.synthesise(train.static, train.outcome, train.end, steps=1)
        use = found.code == 1
        record, value = found.set_record[found.event_set[use]], found.value[use]
        follows = record.diff() == 0
        assert int(follows.sum()) > 20
        return float((value.diff()[follows] == 0).float().mean())

    torch.manual_seed(0)
    # All but those of the code's first bin, where it is several times.
    assert unchanged(20.0) > 0.65
    assert unchanged(-20.0) < 0.1


def test_repeats_are_found_in_bins():
    def events(values: list[list[float]]) -> BinEvents:
        cells = [torch.tensor(v) for v in values]
        columns = [[len(v), len(v), float(v.sum()), float(v.square().sum())] for v in cells]
        return BinEvents(*torch.tensor(columns).T[:, None, :, None])

    found = repeats(events([[], [1.0], [1.0, 1.0], [1.0, 2.0], [], [1.5], [3.0]]))
    assert found.asked.flatten().tolist() == [False, False, True, True, False, True, True]
    assert found.same.flatten().tolist() == [False, False, True, False, False, True, False]


def test_a_decoder_begins_with_the_rates_of_training(tiny_clinical: ClinicalData):
    flow = small_flow(tiny_clinical)
    torch.nn.init.zeros_(flow.decoder.count.weight)
    train = tiny_clinical.split("train")
    events = tally(merge(train.batch(torch.arange(len(train))), flow.grid), flow.grid, flow.codes)
    near = around(events, torch.zeros_like(events.count, dtype=torch.bool))
    here = Neighbours(*(part[:1, 0] for part in near))
    decoder = flow.decoder
    law = decoder(decoder.read(None, torch.zeros(1, 64), here, torch.tensor([0])), here)
    none = law.counts.softmax(-1)[0, :, 0]
    expected = (events.count == 0).float().mean((0, 1))
    torch.testing.assert_close(none, expected, atol=1e-2, rtol=0)


def test_exported_records_are_read_again_as_they_were(
    made: Records, tiny_clinical: ClinicalData, tmp_path: Path
):
    schema = tiny_clinical.schema
    names = export(made, schema, tmp_path / "meds", about="a test")
    assert all((tmp_path / "meds" / name).exists() for name in names)
    again = run_preprocess(tmp_path / "meds", tmp_path / "processed", min_records=1)
    assert [code.name for code in again.schema.codes] == [code.name for code in schema.codes]
    assert again.schema.static == schema.static
    subject = torch.from_numpy(again.identity["subject_id"].to_numpy())
    assert int(subject.min()) == FIRST_SUBJECT
    read = again.records(torch.ones(len(subject), dtype=torch.bool)).batch(subject.argsort())
    torch.testing.assert_close(read.time, made.time, atol=1e-3, rtol=0)
    assert torch.equal(read.event_set, made.event_set)
    assert torch.equal(read.set_record, made.set_record)
    assert torch.equal(read.outcome, made.outcome)
    some = made.set_record.unique()  # without events there is no origin to count from
    torch.testing.assert_close(read.end[some], made.end[some])

    def clinical(records: Records, data: ClinicalData) -> torch.Tensor:
        """Code, whether measured, and value in clinical units, sorted within sets."""
        sd, mean = (
            torch.tensor([0.0, *(getattr(code, name) for code in data.schema.codes)])
            for name in ("sd", "mean")
        )
        value = records.value.double() * sd[records.code] + mean[records.code]
        value = torch.where(records.measured, value, -1e6)
        order = value.argsort(stable=True)
        for key in (records.code, records.event_set):
            order = order[key[order].argsort(stable=True)]
        return torch.stack([records.code[order].double(), value[order]], 1)

    torch.testing.assert_close(
        clinical(read, again), clinical(made, tiny_clinical), atol=1e-3, rtol=1e-5
    )
    age = schema.static.index("Age")
    years = [
        records.static[:, age] * data.schema.static_sd[age] + data.schema.static_mean[age]
        for records, data in ((read, again), (made, tiny_clinical))
    ]
    torch.testing.assert_close(*years, atol=1e-3, rtol=0)


def test_splits_are_dealt_by_share(made: Records, tiny_clinical: ClinicalData, tmp_path: Path):
    export(made, tiny_clinical.schema, tmp_path / "meds", shares=(0.5, 0.25, 0.25))
    table = pq.read_table(tmp_path / "meds/metadata/subject_splits.parquet").to_pandas()
    count = table["split"].value_counts()
    total = len(made.outcome)
    assert abs(count["train"] - total / 2) <= 1 and abs(count["tuning"] - total / 4) <= 1
    with pytest.raises(UserError, match="not empty"):
        export(made, tiny_clinical.schema, tmp_path / "meds")


def test_joined_batches_are_one():
    def one(hour: float) -> Records:
        event = torch.tensor([0])
        return pack(
            event,
            torch.tensor([hour]),
            event + 1,
            torch.tensor([2.0]),
            torch.tensor([True]),
            torch.zeros(2, 1),
            torch.ones(2),
            torch.zeros(2),
        )

    both = join([one(0.5), one(1.5)])
    assert both.set_record.tolist() == [0, 2]
    assert both.event_set.tolist() == [0, 1]
    assert len(both.outcome) == 4
