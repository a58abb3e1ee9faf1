"""Data that cannot be used is refused in one line; what may be repaired is counted."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from clinical_meds import save
from pydantic import ValidationError

from weir.errors import UserError
from weir.tasks.clinical.settings.dataset import ClinicalDataset


def refused(process, meds, match, change=lambda folder: None, **settings):
    with pytest.raises(UserError, match=match) as error:
        process(meds, change, **settings)
    assert "\n" not in str(error.value)


def repairs(data):
    return {repair.kind: repair.count for repair in data.schema.repairs}


def alter(name, **columns):
    """A change that replaces columns of a file, or drops those that are None."""

    def change(folder: Path) -> None:
        table = pq.read_table(folder / name)
        for column, make in columns.items():
            place = table.schema.get_field_index(column)
            if make is None:
                table = table.remove_column(place)
            else:
                table = table.set_column(place, column, make(table[column]))
        save(table, folder / name)

    return change


SHARD, LABELS, SPLITS = "data/0.parquet", "tasks/death/0.parquet", "metadata/subject_splits.parquet"


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (alter(SHARD, time=None), "column 'time' is missing.*there are subject_id, code"),
        (alter(SHARD, subject_id=lambda c: c.cast(pa.string())), "is string, but MEDS asks for"),
        (alter(SHARD, time=lambda c: c.cast(pa.int64())), "'time' is int64"),
        (alter(SHARD, numeric_value=lambda c: c.cast(pa.string())), "'numeric_value' is string"),
        (alter(SHARD, code=lambda c: pa.array([None] * len(c), pa.string())), "'code' has .* null"),
        (alter(SHARD, subject_id=lambda c: pa.nulls(len(c), pa.int64())), "'subject_id' has .* nu"),
        (alter(LABELS, prediction_time=None), "column 'prediction_time' is missing"),
        (alter(LABELS, boolean_value=lambda c: c.cast(pa.int8())), "'boolean_value' is int8"),
        (alter(LABELS, boolean_value=None), "it has no value, but only yes or no"),
        (alter(LABELS, subject_id=lambda c: pa.nulls(len(c), pa.int64())), "'subject_id' has 6 nu"),
        (alter(SPLITS, split=lambda c: pa.nulls(len(c), pa.string())), "it has nulls"),
        (lambda folder: (folder / SHARD).write_bytes(b"no"), "cannot be read as Parquet"),
        (lambda folder: (folder / SPLITS).unlink(), "does not exist; name files of"),
    ],
)
def test_wrong_files(process, meds, change, match):
    refused(process, meds, match, change)


def test_wrong_outcome_and_empty_folders(process, meds):
    refused(process, meds, "it has no labels; `outcome` may be death", outcome="stay")
    refused(
        process,
        meds,
        "it has no Parquet file",
        lambda folder: [file.unlink() for file in (folder / "data").iterdir()],
    )


def test_a_truncated_shard(process, meds):
    def cut(folder: Path) -> None:
        data = bytearray((folder / SHARD).read_bytes())
        data[4:120] = bytes(116)
        (folder / SHARD).write_bytes(data)

    refused(process, meds, "is damaged", cut)


def test_a_subject_in_two_splits(process, meds):
    meds.splits.append((0, "train"))
    assert process(meds).schema.repairs == ()
    meds.splits.append((1, "held_out"))
    refused(process, meds, "subject 1 is in splits 'train' and 'held_out' \\(1 such")


def test_two_labels_at_one_time(process, meds):
    meds.labels.append((1, 4.0, True))
    assert repairs(process(meds)) == {"repeated labels": 1}
    meds.labels.append((0, 4.0, True))
    refused(process, meds, "subject 0 has two labels that differ at 2020-01-01 04:00:00")


def test_no_label_is_no_negative(process, meds):
    meds.splits.append((9, "train"))
    meds.events.append((9, 1.0, "A", 1.0))
    refused(process, meds, "subject 9 of split 'train' has no label .* none is no negative")
    assert repairs(process(meds, unlabelled="drop")) == {"unlabelled": 1}
    meds.labels.append((9, 4.0, None))
    refused(process, meds, "the label of subject 9 is null")
    found = process(meds, unlabelled="drop")
    assert repairs(found) == {"null labels": 1, "unlabelled": 1}
    assert found.schema.records["train"] == 2


def test_subjects_of_no_split(process, meds):
    meds.events.append((9, 1.0, "A", 1.0))
    refused(process, meds, "subject 9 has neither a split nor a label")
    assert repairs(process(meds, unlabelled="drop")) == {"no split": 1}
    meds.labels.append((9, 4.0, True))
    refused(process, meds, "subject 9 has a label but no split")


def test_labels_without_events(process, meds):
    meds.subject(9, [], [(4.0, True)])
    refused(process, meds, "subject 9 has a label, but no event in data/ \\(1 such")
    data = process(meds, without_events="drop")
    assert repairs(data) == {"without events": 1}
    assert data.schema.records["train"] == 2
    meds.events.append((9, 7.0, "A", 1.0))
    data = process(meds)
    assert repairs(data) == {"no timed events": 1}
    assert data.split("train").sets.tolist() == [2, 2, 0]


def test_a_subject_in_two_places(process, meds):
    def scatter(folder: Path) -> None:
        table = pq.read_table(folder / "data/1.parquet")
        save(table[:2], folder / "data/2.parquet")

    refused(
        process, meds, "2.parquet: events of subject 1 do not lie together .*1.parquet", scatter
    )
    order = lambda c: c.take(pa.array(np.r_[6 : len(c), 0:6]))  # noqa: E731
    moved = dict.fromkeys(("subject_id", "time", "code", "numeric_value"), order)
    process(meds, alter(SHARD, **moved))
    swap = lambda c: c.take(pa.array(np.r_[0:3, 6 : len(c), 3:6]))  # noqa: E731
    apart = dict.fromkeys(("subject_id", "time", "code", "numeric_value"), swap)
    refused(process, meds, "subject 0 do not lie together", alter(SHARD, **apart))


def test_infinite_values(process, meds):
    meds.events += [(1, 3.0, "A", float("-inf")), (1, 3.5, "A", float("nan"))]
    refused(process, meds, "a value of 'A' of subject 1 is infinite")
    data = process(meds, infinite="missing")
    assert repairs(data) == {"infinite": 1}
    assert (data.schema.codes[0].values, data.schema.codes[0].mean) == (4, 2.75)
    meds.events[-2:] = [(0, None, "Age", float("inf"))]
    refused(process, meds, "a value of 'Age' of subject 0 is infinite")


def zoned(column):
    naive = column.cast(pa.timestamp("us"))
    return (
        naive.cast(pa.int64())
        .cast(pa.timestamp("us", "UTC"))
        .cast(pa.timestamp("ms", "Asia/Tokyo"))
    )


def test_time_zones_are_taken_in_utc_or_refused(process, meds):
    plain = process(meds)
    one = alter(SHARD, time=zoned)
    refused(process, meds, "has times with a zone and .* has times without", one)

    def all_(folder: Path) -> None:
        one(folder)
        alter("data/1.parquet", time=zoned)(folder)
        alter(LABELS, prediction_time=zoned)(folder)

    data = process(meds, all_)
    assert repairs(data) == {"time zone": 3}
    assert data.schema.digest == plain.schema.digest


def test_splits_need_records_and_both_outcomes(process, meds):
    meds.labels = [(who, hour, True) for who, hour, _ in meds.labels]
    refused(process, meds, "every training record has the outcome")
    meds.splits = [(who, "train") for who, _ in meds.splits]
    refused(process, meds, "split 'tuning' has no record")


def test_codes_that_are_all_rare(process, meds):
    refused(process, meds, "no code is in 3 training records or more, but in 2", min_records=3)
    meds.labels = [(who, 0.5, label) for who, _, label in meds.labels]
    refused(process, meds, "no code is in 1 training records or more, but in 0")


def test_subgroups_that_nobody_is_in(process, meds):
    rules = {"sex": {"codes": ["GENDER//F"]}}
    refused(process, meds, "no record has one of .* there are Age, SEX//F, SEX//M", subgroups=rules)


@pytest.mark.parametrize(
    ("settings", "match"),
    [
        ({"subgroups": {"a": {"codes": ["x"], "prefix": "y"}}}, "exactly one of"),
        ({"subgroups": {"a": {"code": "x"}}}, "belong together"),
        ({"subgroups": {"a": {"code": "x", "edges": [2, 1]}}}, "ascend"),
        ({"splits": ["metadata/none.parquet"]}, "not among source.sha256"),
        ({"splits": ["a/s.parquet", "b/s.parquet"]}, "two files of splits have one name"),
        ({"format": "meds", "patient_files": {}}, "only for"),
        ({"lookback_hours": -1}, "greater than 0"),
    ],
)
def test_settings_that_contradict_each_other(settings, match):
    names = ["data/0.parquet", "a/s.parquet", "b/s.parquet"]
    node = {
        "task": "clinical",
        "source": {"path": "x", "sha256": dict.fromkeys(names, "0" * 64)},
        "outcome": "death",
    }
    ClinicalDataset.model_validate(node)
    with pytest.raises(ValidationError, match=match):
        ClinicalDataset.model_validate(node | settings)
