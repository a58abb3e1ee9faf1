"""Batches of records: the same events, packed, whichever way they are asked for."""

from __future__ import annotations

import shutil

import pytest
import torch

from weir.errors import UserError
from weir.tasks.clinical.data import records
from weir.tasks.clinical.data.load import ClinicalData, load


def test_a_batch_is_its_records_one_after_the_other(tiny_clinical: ClinicalData):
    train = tiny_clinical.split("train")
    items = torch.tensor([7, 3, 3, 40, 0])
    batch = train.batch(items)
    assert batch.event_set.diff().min() >= 0 and batch.set_record.diff().min() >= 0
    assert batch.event_set.bincount().min() >= 1
    single = [train.batch(items[i : i + 1]) for i in range(5)]
    for name in ("code", "value", "measured", "time", "static", "end", "outcome"):
        together = torch.cat([getattr(one, name) for one in single])
        assert torch.equal(getattr(batch, name), together), name
    owner = torch.cat([torch.full_like(one.set_record, i) for i, one in enumerate(single)])
    assert torch.equal(batch.set_record, owner)
    assert torch.equal(owner.bincount(), train.sets[items])
    assert torch.equal(owner[batch.event_set].bincount(), train.events[items])
    assert torch.equal(batch.outcome, train.outcome[items])
    assert torch.equal(batch.end, train.end[items])


def test_types_and_values(tiny_clinical: ClinicalData):
    """Values are standardised by training; codes without values are not measured."""
    train = tiny_clinical.split("train")
    batch = train.batch(torch.arange(len(train)))
    kinds = {name: value.dtype for name, value in batch._asdict().items()}
    assert kinds["code"] == kinds["event_set"] == kinds["set_record"] == torch.int64
    assert kinds["measured"] == torch.bool
    assert {kinds[n] for n in ("value", "time", "static", "end", "outcome")} == {torch.float32}
    valued = batch.code <= 5
    assert torch.equal(batch.measured, valued)
    assert (batch.value[~valued] == 0).all()
    for code in range(1, 6):
        values = batch.value[batch.code == code]
        assert values.mean().abs() < 1e-4 and (values.std(correction=0) - 1).abs() < 1e-4
    first = torch.searchsorted(batch.set_record, torch.arange(len(train)))
    assert (batch.time[first] == 0).all()
    assert (batch.time <= batch.end[batch.set_record]).all()
    ill = batch.outcome[batch.set_record][batch.event_set] == 1
    c0 = batch.code == 1
    assert batch.value[c0 & ill].mean() > batch.value[c0 & ~ill].mean() + 1


@pytest.mark.parametrize("limits", [(512, 1 << 19), (7, 1 << 19), (512, 100)])
def test_all_passes_once_over_everything(tiny_clinical, monkeypatch, limits):
    monkeypatch.setattr(records, "CHUNK_RECORDS", limits[0])
    monkeypatch.setattr(records, "CHUNK_EVENTS", limits[1])
    train = tiny_clinical.split("train")
    pieces = list(train.all())
    assert torch.equal(torch.cat([items for items, _ in pieces]), torch.arange(len(train)))
    for items, batch in pieces:
        assert len(batch.outcome) == len(items) <= limits[0]
        assert len(batch.code) == train.events[items].sum()
        assert len(items) == 1 or len(batch.code) < 2 * limits[1]


def test_subsets(tiny_clinical: ClinicalData):
    test = tiny_clinical.split("test")
    ill = test.subset(test.outcome == 1)
    assert 0 < len(ill) < len(test) and ill.outcome.min() == 1
    some = test.subset(torch.tensor([4, 2]))
    assert torch.equal(some.static, test.static[[4, 2]])
    assert torch.equal(some.subgroup("sex")[0], test.subgroup("sex")[0][[4, 2]])
    assert list(ill.subset(torch.zeros(len(ill), dtype=torch.bool)).all()) == []


def test_records_without_sets_have_a_place(tiny_clinical: ClinicalData):
    """Also at the beginning and end of a batch, and all of a batch."""
    train = tiny_clinical.split("train")
    table = train.table
    last = table.last_set.clone()
    empty = train.rows[[0, 2, 5]]
    last[empty] = table.first_set[empty]
    end = len(train.store.set_time)
    first = table.first_set.clone()
    first[empty[2]] = last[empty[2]] = end
    changed = records.RecordSet(
        train.store,
        records.RecordTable(**(vars(table) | {"first_set": first, "last_set": last})),
        train.rows,
        train.subgroups,
    )
    batch = changed.batch(torch.tensor([0, 1, 2, 3, 5]))
    assert batch.set_record.bincount(minlength=5).tolist() == [
        0,
        int(train.sets[1]),
        0,
        int(train.sets[3]),
        0,
    ]
    none = changed.batch(torch.tensor([5, 0]))
    assert len(none.code) == len(none.time) == 0 and len(none.outcome) == 2
    assert changed.sets[[0, 5]].tolist() == changed.events[[0, 5]].tolist() == [0, 0]


def test_mapped_events_are_the_same(clinical_folder, tiny_clinical, monkeypatch):
    monkeypatch.setattr("weir.tasks.clinical.data.records.RESIDENT", 0)
    mapped = load(clinical_folder).split("train").batch(torch.arange(20))
    for one, other in zip(
        mapped, tiny_clinical.split("train").batch(torch.arange(20)), strict=True
    ):
        assert torch.equal(one, other)


@pytest.mark.parametrize(
    ("name", "damage"),
    [
        ("codes.npy", lambda data: data[:-1] + b"\x01"),
        ("static.npy", lambda data: data[:-1] + bytes([data[-1] ^ 1])),
        ("values.npy", lambda data: data[:200]),
        ("records.parquet", lambda data: data[:-9]),
        ("schema.json", lambda data: data.replace(b'"prevalence"', b'"x"')),
        ("set_time.npy", None),
    ],
)
def test_damage_is_told(tmp_path, clinical_folder, name, damage):
    folder = tmp_path / "damaged"
    shutil.copytree(clinical_folder, folder)
    if damage is None:
        (folder / name).unlink()
    else:
        (folder / name).write_bytes(damage((folder / name).read_bytes()))
    with pytest.raises(UserError, match="rerun weir preprocess"):
        load(folder)
