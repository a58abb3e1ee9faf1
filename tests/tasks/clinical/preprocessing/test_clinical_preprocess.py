"""What is kept of a record's events: exactly those it may know, in sets, as a plain loop finds."""

from __future__ import annotations

import re
import shutil
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
import torch
from clinical_meds import EVENTS, Meds, cohort, run_preprocess, save
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from weir.tasks.clinical.data.load import ClinicalData
from weir.tasks.clinical.data.schema import Schema
from weir.tasks.clinical.preprocessing import meds as reading


def sets_of(data: ClinicalData, row: int) -> list[tuple[float, list[tuple[str, Any]]]]:
    """Hour since its origin, and codes with raw values, of each set of a record."""
    batch = data.records(torch.arange(len(data.part)) == row).batch(torch.tensor([0]))
    names = ["?", *(code.name for code in data.schema.codes)]
    found: list[tuple[float, list[tuple[str, Any]]]] = [(t, []) for t in batch.time.tolist()]
    for code, value, measured, place in zip(
        *(x.tolist() for x in (batch.code, batch.value, batch.measured, batch.event_set)),
        strict=True,
    ):
        raw = None
        if measured:
            raw = round(value * float(data.store.sd[code]) + float(data.store.mean[code]), 2)
        found[place][1].append((names[code], raw))
    return [(round(time, 4), sorted(events, key=str)) for time, events in found]


def test_only_events_up_to_the_prediction(process, meds):
    data = process(meds)
    assert [code.name for code in data.schema.codes] == ["A", "B"]
    assert sets_of(data, 3) == [(0.0, [("A", 3.0)]), (1.0, [("A", 30.0), ("B", None)])]
    train = data.split("train")
    assert train.outcome.tolist() == [0.0, 1.0]
    assert train.end.tolist() == [3.0, 3.0]
    assert data.identity["subject_id"].tolist() == list(range(6))
    assert data.schema.records == {"train": 2, "validation": 2, "test": 2}
    assert data.schema.prevalence == 0.5
    assert data.schema.repairs == ()


def test_an_event_at_the_prediction_is_seen_and_one_after_is_not(process, meds):
    meds.events += [(0, 4.0, "at", None), (1, 4.0 + 1 / 3.6e9, "after", None)]
    assert [code.name for code in process(meds).schema.codes] == ["A", "B", "at"]


@pytest.mark.parametrize(
    "settings_", [{}, {"set_minutes": 90}, {"lookback_hours": 2}, {"max_sets": 1, "clip": 0.0}]
)
def test_later_events_change_no_byte(process, meds, settings_):
    """Not even codes that nobody has met, infinite values or disorder."""
    meds.labels.append((1, 1.5, False))
    clean = process(meds, **settings_).folder
    late = Meds(shards=meds.shards, labels=meds.labels, splits=meds.splits)
    for event in meds.events:
        late.events.append(event)
        if event[2] == "B":
            late.events += [(event[0], 9.0, "Z", float("inf")), (event[0], 8.0, "A", 7e9)]
    leaky = process(late, **settings_).folder
    files = sorted(file.name for file in clean.iterdir())
    assert files == sorted(file.name for file in leaky.iterdir())
    for name in files:
        one, other = ((folder / name).read_bytes() for folder in (clean, leaky))
        if name == "schema.json":  # which also has the hash of the raw files, and these differ
            one, other = (re.sub(rb'"source_sha256": "\w{64}"', b"", text) for text in (one, other))
        assert one == other, name


def test_statistics_are_of_training_records(process, meds):
    """A is 0, 0, 1, 10 in training; statics of training ages 40 and 41."""
    before = process(meds).schema
    a, b = before.codes
    assert (a.mean, a.values, a.records) == (2.75, 4, 2)
    assert a.sd == pytest.approx(np.std([0, 0, 1, 10]))
    assert (b.mean, b.sd, b.values, b.records) == (0.0, 1.0, 0, 2)
    assert before.static == ("Age", "Age present", "SEX//F", "SEX//M")
    assert before.static_mean == (40.5, 0.0, 0.0, 0.0)
    assert before.static_sd == (0.5, 1.0, 1.0, 1.0)
    meds.events = [
        (who, when_, code, 1000.0 if who > 1 and value is not None else value)
        for who, when_, code, value in meds.events
    ]
    meds.events.append((5, 1.0, "new", 1.0))
    data = process(meds)
    assert data.schema.codes == before.codes
    assert data.schema.static_mean == before.static_mean
    assert sets_of(data, 5)[0] == (0.0, [("?", None), ("A", 1000.0)])


def test_static_features_and_subgroups(process, meds):
    rules = {
        "sex": {"codes": ["SEX//M", "SEX//F"]},
        "kind": {"prefix": "SEX//"},
        "age": {"code": "Age", "edges": [41, 44]},
    }
    meds.events = [e for e in meds.events if not (e[0] == 2 and e[2] == "Age")]
    data = process(meds, subgroups=rules)
    test = data.split("test")
    assert test.static.tolist() == [[7.0, 1.0, 0.0, 1.0], [9.0, 1.0, 1.0, 0.0]]
    group, names = test.subgroup("sex")
    assert [names[i] for i in group] == ["SEX//M", "SEX//F"]
    group, names = data.split("validation").subgroup("age")
    assert names == ("unknown", "below 41", "41 to 44", "44 and above")
    assert group.tolist() == [0, 2]
    assert data.split("validation").static[0].tolist() == [0.0, 0.0, 0.0, 1.0]
    assert data.schema.subgroups["kind"] == ("unknown", "F", "M")


def test_birth_is_the_age_at_each_prediction(process, meds):
    year = 365.25 * 24
    for number in range(6):
        meds.events.insert(0, (number, -year * (20 + number), "MEDS_BIRTH", None))
        meds.events.append((number, 4.5, "MEDS_BIRTH", None))  # not known at the prediction
    meds.labels.append((0, 4.0 + year, True))
    data = process(meds)
    assert data.schema.codes[0].name == "A"
    assert data.schema.static[2:4] == ("MEDS_BIRTH", "MEDS_BIRTH present")
    mean, sd = data.schema.static_mean[2], data.schema.static_sd[2]
    train = data.split("train").static[:, 2] * sd + mean
    exact = 4.0 / year
    assert train.tolist() == pytest.approx([20 + exact, 21 + exact, 21 + exact], abs=1e-4)


def test_truncation_keeps_the_latest_and_whole_sets(process, meds):
    data = process(meds, max_sets=1)
    assert sets_of(data, 3) == [(0.0, [("A", 30.0), ("B", None)])]
    assert data.split("train").end.tolist() == [2.0, 2.0]
    assert data.schema.events == 12 and data.schema.codes[0].values == 2
    assert [(r.kind, r.count) for r in data.schema.repairs] == [("truncated", 6)]


def test_lookback(process, meds):
    data = process(meds, lookback_hours=2)
    assert sets_of(data, 0) == [(0.0, [("A", 0.0), ("B", None)])]
    assert data.schema.horizon_hours == 2.0


def test_bins_end_at_predictions(process, meds):
    """Hours 1 and 2 share a bin of 90 minutes, but not for a prediction in between."""
    meds.labels.append((1, 1.5, False))
    data = process(meds, set_minutes=90)
    whole = [("A", 0.0), ("A", 0.0), ("B", None)]
    assert sets_of(data, 0) == [(1.0, whole)]
    assert sets_of(data, 1) == [(0.0, [("A", 1.0)])]
    assert sets_of(data, 2) == [(0.0, [("A", 1.0)]), (1.0, [("A", 10.0), ("B", None)])]
    assert data.split("train").end.tolist() == [3.0, 0.5, 3.0]


def test_several_records_share_a_subjects_events(process, meds):
    meds.labels += [(1, 1.0, False), (1, 0.5, False), (1, 6.0, True)]
    data = process(meds)
    train = data.split("train")
    assert train.sets.tolist() == [2, 0, 1, 2, 3]
    assert train.end.tolist() == [3.0, 0.0, 0.0, 3.0, 5.0]
    assert data.schema.events == 6 * 3 + 1
    records = {code.name: code.records for code in data.schema.codes}
    assert records == {"A": 4, "B": 3, "C": 1}
    assert [(r.kind, r.count) for r in data.schema.repairs] == [("no timed events", 1)]


def test_one_event_and_very_many(process, meds):
    meds.subject(6, [(1.0, "A", 5.0)], [(4.0, False)])
    meds.labels.append((7, 4.0, True))
    meds.splits.append((7, "train"))

    def add(folder: Path) -> None:
        count = np.arange(100_000)
        columns = [
            np.full(len(count), 7),
            np.datetime64("2020-01-01T01", "us") + count * 36_000,
            np.array([f"code{i}" for i in range(7)])[count % 7],
            count.astype("float32"),
        ]
        save(pa.table(columns, schema=EVENTS), folder / "data/9.parquet")

    data = process(meds, add)
    train = data.split("train")
    assert train.sets.tolist() == [2, 2, 1, 100_000]
    batch = train.batch(torch.tensor([3, 2]))
    assert batch.set_record.bincount().tolist() == [100_000, 1]
    assert batch.static[1].tolist() == [0.0, 0.0, 0.0, 0.0]
    assert [len(items) for items, _ in train.all()] == [4]


def test_duplicates_are_kept(process, meds):
    meds.events += [(0, 2.0, "A", 0.0)] * 2
    assert sets_of(process(meds), 0)[1] == (1.0, [("A", 0.0)] * 3 + [("B", None)])


def test_unsorted_times_are_sorted(process, meds):
    ordered = process(meds)
    meds.events = [e for n in range(6) for e in reversed([x for x in meds.events if x[0] == n])]
    data = process(meds)
    assert [sets_of(data, i) for i in range(6)] == [sets_of(ordered, i) for i in range(6)]
    (repair,) = data.schema.repairs
    assert (repair.kind, repair.count) == ("unsorted", 6)


def test_rare_codes_are_unknown(process, meds):
    meds.events.append((0, 3.0, "rare", 8.0))
    data = process(meds, min_records=2)
    assert sets_of(data, 0)[2] == (2.0, [("?", None)])
    assert not data.store.code(torch.arange(data.schema.events)).max() > 2
    (repair,) = data.schema.repairs
    assert (repair.kind, repair.count) == ("unknown codes", 1)


def test_values_out_of_range_are_drawn_in(process):
    """c0 has 0, 1, ..., 100 in training; 1st to 99th percentile is 1 to 99."""
    made = Meds()
    values = [(float(i), "c0", float(i)) for i in range(101)]
    made.subject(1, [*values, (101.0, "same", 5.0)], [(200.0, True)])
    made.subject(2, [(1.0, "same", 5.0)], [(200.0, False)])
    made.subject(3, [(1.0, "c0", 150.0), (2.0, "same", 9.0)], [(200.0, False)], "tuning")
    made.subject(4, [(1.0, "c0", -1e30), (2.0, "c0", 147.9)], [(200.0, False)], "held_out")
    data = process(made, clip=0.5)
    assert (data.schema.codes[0].low, data.schema.codes[0].high) == (-48.0, 148.0)
    assert (data.schema.codes[1].low, data.schema.codes[1].sd) == (None, 1.0)
    assert sets_of(data, 2) == [(0.0, [("c0", 148.0)]), (1.0, [("same", 9.0)])]
    assert sets_of(data, 3) == [(0.0, [("c0", -48.0)]), (1.0, [("c0", 147.9)])]
    assert [(r.kind, r.count) for r in data.schema.repairs] == [("clipped", 2)]


def test_folds_are_files_of_splits(process, meds):
    def add(folder: Path) -> None:
        for name, splits in (
            ("a", ["train", "train", "train", "train", "tuning", "held_out"]),
            ("b", ["held_out", "tuning", "train", "train", "train", "other"]),
        ):
            made = pa.table({"subject_id": list(range(6)), "split": splits})
            save(made, folder / f"metadata/{name}.parquet")

    data = process(meds, add, splits=["metadata/b.parquet"])
    assert data.schema.fold == "b"
    assert data.schema.records == {"train": 3, "validation": 1, "test": 1}
    (repair,) = data.schema.repairs
    assert (repair.kind, repair.count, repair.detail) == (
        "other splits",
        1,
        "subjects in other: left out",
    )


def test_any_layout_gives_the_same_bytes(process, monkeypatch):
    """One shard or many, small batches of rows, dictionaries and large strings."""
    made = cohort(40)
    made.shards = 1
    plain = process(made).folder

    def change(folder: Path) -> None:
        file = folder / "data/0.parquet"
        table = pq.read_table(file)
        file.unlink()
        cut = int(np.searchsorted(table["subject_id"].to_numpy(), 1020))
        parts = [("data/train/a.parquet", table[:cut]), ("data/x/y/b.parquet", table[cut:])]
        for name, part in parts:
            code = pc.dictionary_encode(part["code"])
            if name.endswith("b.parquet"):
                code = part["code"].cast(pa.large_string())
            part = part.set_column(2, "code", code).append_column("text_value", part["code"])
            part = part.set_column(3, "numeric_value", part["numeric_value"].cast(pa.float64()))
            save(part, folder / name, row_group_size=37)

    monkeypatch.setattr(reading, "ROWS", 50)
    other = process(made, change).folder
    for file in plain.iterdir():
        if file.name != "schema.json":
            assert file.read_bytes() == (other / file.name).read_bytes(), file.name
    mine, theirs = Schema.load(plain), Schema.load(other)
    assert mine == replace(theirs, source_sha256=mine.source_sha256)


HOURS = st.one_of(st.none(), st.integers(0, 12).map(float))
EVENT = st.tuples(
    HOURS, st.sampled_from("abc"), st.one_of(st.none(), st.integers(-9, 9).map(float))
)
SUBJECT = st.tuples(
    st.lists(EVENT, min_size=1, max_size=12),
    st.lists(st.integers(0, 12), min_size=1, max_size=3, unique=True),
)


@given(
    subjects=st.lists(SUBJECT, min_size=3, max_size=6),
    set_minutes=st.sampled_from([None, 60.0, 150.0]),
    lookback=st.sampled_from([None, 3.0]),
    max_sets=st.sampled_from([None, 2]),
    rows=st.sampled_from([1, 3, 1000]),
)
@settings(
    max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_a_plain_loop_finds_the_same(monkeypatch, subjects, set_minutes, lookback, max_sets, rows):
    monkeypatch.setattr(reading, "ROWS", rows)
    made = Meds(shards=2)
    made.subject(90, [(0.0, "a", 1.0)], [(0.0, True)])
    made.subject(91, [(0.0, "a", 1.0)], [(0.0, False)])
    splits = ["tuning", "held_out", *["train"] * 4]
    for number, (events, predictions) in enumerate(subjects):
        labels = [(float(p), p % 2 == 0) for p in predictions]
        made.subject(number, events, labels, splits[number])
    folder = Path(tempfile.mkdtemp())
    try:
        made.write(folder / "raw")
        data = run_preprocess(
            folder / "raw",
            folder / "out",
            set_minutes=set_minutes,
            lookback_hours=lookback,
            max_sets=max_sets,
        )
        expected, seen = plain_loop(made, set_minutes, lookback, max_sets)
        known = {code.name for code in data.schema.codes}
        assert known == set(seen)
        assert {code.name: code.records for code in data.schema.codes} == {
            code: len(records) for code, records in seen.items()
        }
        for row, (subject, prediction, sets) in enumerate(expected):
            assert data.identity["subject_id"][row] == subject
            sets = [
                (
                    time,
                    sorted(((c, v) if c in known else ("?", None) for c, v in events), key=str),
                )
                for time, events in sets
            ]
            assert sets_of(data, row) == sets, (subject, prediction)
    finally:
        shutil.rmtree(folder)


def plain_loop(made: Meds, set_minutes, lookback, max_sets):
    """Sets of every record, and the training records that have each code."""
    parts = dict(made.splits)
    labels = sorted((subject, prediction) for subject, prediction, _ in made.labels)
    expected = []
    seen: dict[str, set[tuple[int, float]]] = {}
    for subject, prediction in labels:
        times = [p for s, p in labels if s == subject]
        timed = [e[1:] for e in made.events if e[0] == subject and e[1] is not None]
        timed.sort(key=lambda e: e[0])
        reach = min(times) - lookback if lookback else -np.inf
        begin = min((t for t, _, _ in timed if reach <= t <= max(times)), default=0)

        def place(hour: float, times=times, begin=begin) -> tuple[float, ...]:
            """What events of one set have in common."""
            if set_minutes is None:
                return (hour,)
            cuts = [sum(hour > p for p in times)]
            if lookback:
                cuts.append(sum(hour >= p - lookback for p in times))
            return ((hour - begin) * 60 // set_minutes, *cuts)

        mine = [e for e in timed if e[0] <= prediction]
        mine = [e for e in mine if lookback is None or e[0] >= prediction - lookback]
        sets: dict[tuple[float, ...], list[tuple[float, str, float | None]]] = {}
        for event in mine:
            sets.setdefault(place(event[0]), []).append(event)
        kept = list(sets.values())[-max_sets if max_sets else None :]
        origin = kept[0][0][0] if kept else 0
        found = []
        for events in kept:
            found.append(
                (round(events[-1][0] - origin, 4), sorted([(c, v) for _, c, v in events], key=str))
            )
            for _, code, _ in events:
                if parts[subject] == "train":
                    seen.setdefault(code, set()).add((subject, prediction))
        expected.append((subject, prediction, found))
    return expected, seen
