"""One file a patient gives the same processed folder as the same events in MEDS."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pyarrow as pa
import pytest
from clinical_meds import Meds, run_preprocess, save

from weir.errors import UserError
from weir.tasks.clinical.data.schema import Schema

SPLITS = ("train", "train", "tuning", "held_out")


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    """Four patients: age and A at minute 0 and 30, and A after the 48 hours."""
    folder = tmp_path / "raw"
    for number in range(4):
        table = pa.table(
            {
                "variable": ["Age", "A", "A", "A"],
                "value": [50.0 + number, 1.0, 2.0 + number, 9.0],
                "minute": [None, 0.0, 30.0, 2880.5],
            }
        )
        save(table, folder / f"patients/{number}.parquet")
    frame = pd.DataFrame({"subject_id": range(4), "death": [0, 1, 0, 1], "split": SPLITS})
    frame.to_csv(folder / "outcomes.csv", index=False)
    statistics = pd.DataFrame({"variable": ["Age", "A"], "mean": [0, 0], "std": [1, 1]})
    statistics.to_csv(folder / "statistics.csv", index=False)
    return folder


def run(raw: Path, name: str = "out", **settings):
    files = {"statistics": "statistics.csv"} | settings.pop("patient_files", {})
    return run_preprocess(
        raw, raw.parent / name, format="patient_files", patient_files=files, **settings
    )


def test_the_same_as_meds(raw):
    made = Meds()
    for number, split in enumerate(SPLITS):
        age = (None, "Age", 50.0 + number)
        timed = [(0.0, "A", 1.0), (0.5, "A", 2.0 + number), (48.1, "A", 9.0)]
        made.subject(number, [age, *timed], [(48.0, number % 2 == 1)], split)
    made.write(raw.parent / "meds")
    mine = run(raw)
    theirs = run_preprocess(raw.parent / "meds", raw.parent / "other")
    for name in ("codes.npy", "values.npy", "set_first.npy", "set_time.npy", "static.npy"):
        assert (mine.folder / name).read_bytes() == (theirs.folder / name).read_bytes()
    assert mine.split("train").end.tolist() == [48.0, 48.0]
    assert mine.schema.codes == theirs.schema.codes
    left = [file.name for file in mine.folder.iterdir()]
    assert sorted(left) == sorted(file.name for file in theirs.folder.iterdir())


def test_another_horizon_and_splits_of_their_own(raw):
    split = pa.table({"subject_id": [3, 2, 1, 0], "split": list(SPLITS)})
    save(split, raw / "splits/one.parquet")
    data = run(
        raw,
        splits=["splits/one.parquet"],
        patient_files={"prediction_hours": 0.25, "split": None},
    )
    assert data.split("train").sets.tolist() == [1, 1]
    assert data.identity["subject_id"][data.part.numpy() == 0].tolist() == [2, 3]
    assert Schema.load(data.folder).fold == "one"


def test_an_empty_outcome_is_no_negative(raw):
    text = (raw / "outcomes.csv").read_text().replace("0,0,train", "0,,train")
    (raw / "outcomes.csv").write_text(text.replace("1,1,train", "1,1,train\n7,0,train"))
    with pytest.raises(UserError, match="subject 0 of split 'train' has no label"):
        run(raw)
    with pytest.raises(UserError, match="subject 7 has a label, but no event"):
        run(raw, "again", unlabelled="drop")


@pytest.mark.parametrize(
    ("file", "change", "match"),
    [
        ("outcomes.csv", lambda s: s.replace("death", "x"), "column 'death' is missing among"),
        ("outcomes.csv", lambda s: s.replace("0,0,", "0,2,"), "has .*2.* but only 0 and 1"),
        ("outcomes.csv", lambda s: s.replace("0,0,", "a,0,"), "'subject_id' has what is no number"),
        ("outcomes.csv", lambda s: s.replace("split", "part"), "set `patient_files.split`"),
        ("outcomes.csv", None, "outcomes.csv does not exist"),
        ("statistics.csv", lambda s: s.replace("\nA", "\nB"), "variable 'A' .* is missing"),
        ("statistics.csv", lambda s: s.replace("std", "sd"), "column 'std' is missing"),
    ],
)
def test_wrong_tables(raw, file, change, match):
    if change is None:
        (raw / file).unlink()
    else:
        (raw / file).write_text(change((raw / file).read_text()))
    with pytest.raises(UserError, match=match):
        run(raw)


@pytest.mark.parametrize(
    ("name", "columns", "match"),
    [
        ("x.parquet", {}, "a patient's file is named by its number"),
        ("more/3.parquet", {}, "subject 3 has another file"),
        ("4.parquet", {"variable": ["A"], "value": [1.0]}, "column 'minute' is missing"),
        (
            "4.parquet",
            {"variable": pa.array([None], pa.string()), "value": [1.0], "minute": [1.0]},
            "'variable' has 1 nulls",
        ),
        (
            "4.parquet",
            {"variable": ["A"], "value": [1.0], "minute": [float("inf")]},
            "'minute' has infinite values",
        ),
    ],
)
def test_wrong_patients(raw, name, columns, match):
    whole = {"variable": ["A"], "value": [1.0], "minute": [1.0]}
    save(pa.table(columns or whole), raw / "patients" / name)
    with pytest.raises(UserError, match=match):
        run(raw)


def test_without_patients(raw):
    for file in (raw / "patients").iterdir():
        file.unlink()
    with pytest.raises(UserError, match="no patient's Parquet file"):
        run(raw)
