"""A synthetic cohort: records of a trained model for resampled patients, as a MEDS folder.

Any reader of that form reads the folder; it is marked as synthetic.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from meds import (
    birth_code,
    code_metadata_filepath,
    data_subdirectory,
    dataset_metadata_filepath,
    held_out_split,
    subject_splits_filepath,
    train_split,
    tuning_split,
)

from weir.errors import UserError
from weir.files import whole_output
from weir.progress import Progress
from weir.tasks.clinical.data.records import Records
from weir.tasks.clinical.data.schema import Schema
from weir.tasks.clinical.flow.synthesis import join, resampled

if TYPE_CHECKING:
    from weir.flows.solvers import SolverName
    from weir.tasks.clinical.data.load import ClinicalData
    from weir.tasks.clinical.flow.record_flow import RecordFlow


FIRST_SUBJECT = 1_000_000_001
"""Number of the first synthetic subject: above those of hospitals, and said in the metadata."""

START = np.datetime64("2100-01-01", "us").astype("int64")
"""When every synthetic record begins: in the future, where no real one is."""

HOUR, YEAR = 3600e6, 365.25 * 24 * 3600e6
"""Microseconds."""

SPLITS = (train_split, tuning_split, held_out_split)


def export(
    records: Records,
    schema: Schema,
    folder: Path,
    *,
    shares: Sequence[float] = (0.8, 0.1, 0.1),
    about: str = "",
    seed: int = 0,
) -> list[str]:
    """Write `data/<split>/0.parquet`, `metadata/` and `tasks/<outcome>/0.parquet`.

    Values are in clinical units, times to the microsecond; unknown codes are left out.

    Args:
        records: one a subject, values standardised by `schema`.
        schema: of the data that the model was trained on.
        folder: new or empty.
        shares: of the three splits, among which subjects are dealt at random.
        about: what made the records, for the metadata.
        seed: of the splits.

    Returns:
        names of the files.

    Raises:
        UserError: the folder holds something already.
    """
    refuse_filled(folder)
    count = len(records.outcome)
    subjects = FIRST_SUBJECT + np.arange(count)
    edges = (np.cumsum(shares)[:-1] / np.sum(shares) * count).round()
    order = np.random.default_rng(seed).permutation(count)
    split = np.searchsorted(edges, order, side="right")
    tables = [_static(records, schema, subjects), _timed(records, schema, subjects)]
    events = pa.concat_tables(tables).sort_by([("subject_id", "ascending"), ("time", "ascending")])
    # Events without a time come first, as MEDS has them: sorting put them last.
    first = events["time"].is_null().to_numpy()
    place = np.lexsort((~first, events["subject_id"].to_numpy()))
    events = events.take(place)
    owner = events["subject_id"].to_numpy() - FIRST_SUBJECT
    names = []
    for number, name in enumerate(SPLITS):
        names.append(f"{data_subdirectory}/{name}/0.parquet")
        _write(events.filter(pa.array(split[owner] == number)), folder / names[-1])
    names.append(f"tasks/{schema.outcome}/0.parquet")
    _write(_labels(records, subjects), folder / names[-1])
    splits = pa.table({"subject_id": subjects, "split": [SPLITS[i] for i in split]})
    _write(splits, folder / subject_splits_filepath)
    return [*names, subject_splits_filepath, *_metadata(schema, folder, about)]


def refuse_filled(folder: Path) -> None:
    """Raise a UserError if a folder for records holds something already, or is none."""
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UserError(f"{folder} is not empty; name a new folder for the synthetic records")


def _timed(records: Records, schema: Schema, subjects: np.ndarray) -> pa.Table:
    known = (records.code > 0).cpu().numpy()
    code = records.code.cpu().numpy()[known] - 1
    event_set = records.event_set.cpu().numpy()[known]
    record = records.set_record.cpu().numpy()[event_set]
    hours = records.time.cpu().numpy().astype("float64")[event_set]
    mean = np.array([each.mean for each in schema.codes])
    sd = np.array([each.sd for each in schema.codes])
    value = records.value.cpu().numpy().astype("float64")[known] * sd[code] + mean[code]
    names = np.array([each.name for each in schema.codes], object)
    missing = ~records.measured.cpu().numpy()[known]
    # Whole seconds: hours are float32.
    when = START + (hours * 3600).round() * 1e6
    return _table(subjects[record], when, names[code], value, missing=missing)


def _static(records: Records, schema: Schema, subjects: np.ndarray) -> pa.Table:
    """Static events: those present, with a value where there is one."""
    static = records.static.cpu().numpy().astype("float64")
    end = records.end.cpu().numpy().astype("float64")
    names = list(schema.static)
    tables = []
    for column, name in enumerate(names):
        if name.endswith(" present") and name.removesuffix(" present") in names:
            continue
        flag = f"{name} present"
        valued = flag in names
        has = static[:, names.index(flag) if valued else column] > 0.5
        value = static[has, column] * schema.static_sd[column] + schema.static_mean[column]
        when = np.full(has.sum(), np.nan)
        if name == birth_code:
            when = START + end[has] * HOUR - value * YEAR
        missing = np.full(has.sum(), not valued or name == birth_code)
        tables.append(
            _table(subjects[has], when, np.full(has.sum(), name, object), value, missing=missing)
        )
    nothing = _table(*(np.zeros(0) for _ in range(4)), missing=np.zeros(0, bool))
    return pa.concat_tables([nothing, *tables])


def _table(
    subject: np.ndarray,
    when: np.ndarray,
    code: np.ndarray,
    value: np.ndarray,
    *,
    missing: np.ndarray,
) -> pa.Table:
    """Rows as MEDS asks for them; `when` in microseconds, NaN for events without a time."""
    timeless = np.isnan(when)
    whole = np.where(timeless, 0, when).astype("int64")
    return pa.table(
        {
            "subject_id": pa.array(subject.astype("int64")),
            "time": pa.array(whole, pa.int64(), mask=timeless).cast(pa.timestamp("us")),
            "code": pa.array(code.tolist(), pa.string()),
            "numeric_value": pa.array(value.astype("float32"), pa.float32(), mask=missing),
        }
    )


def _labels(records: Records, subjects: np.ndarray) -> pa.Table:
    end = records.end.cpu().numpy().astype("float64")
    return pa.table(
        {
            "subject_id": subjects,
            "prediction_time": pa.array((START + end * HOUR).round().astype("int64")).cast(
                pa.timestamp("us")
            ),
            "boolean_value": records.outcome.cpu().numpy() > 0.5,
        }
    )


def _metadata(schema: Schema, folder: Path, about: str) -> list[str]:
    codes = list(schema.codes)
    _write(
        pa.table(
            {
                "code": pa.array([code.name for code in codes], pa.string()),
                "description": pa.array([code.description for code in codes], pa.string()),
                "parent_codes": pa.array([None] * len(codes), pa.list_(pa.string())),
            }
        ),
        folder / code_metadata_filepath,
    )
    said = {
        "dataset_name": "synthetic records, of no real patient",
        "etl_name": "weir",
        "meds_version": "0.4.1",
        "synthetic": True,
        "first_subject_id": FIRST_SUBJECT,
        "made_by": about,
        "trained_on_sha256": schema.source_sha256,
    }
    text = json.dumps(said, indent=1)
    (folder / dataset_metadata_filepath).write_text(text + "\n", encoding="utf-8")
    return [code_metadata_filepath, dataset_metadata_filepath]


def _write(table: pa.Table, file: Path) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table, file)


ABOUT = {
    "told": "static features, outcomes and lengths are resampled real ones",
    "drawn": "static features and lengths are resampled real ones, outcomes are drawn by the "
    "model's risk",
}
"""What the metadata say of synthetic records, by how the model gives them outcomes."""


@torch.no_grad()
def write_cohort(
    model: RecordFlow,
    data: ClinicalData,
    folder: Path,
    *,
    records: int | None = None,
    steps: int | None = None,
    solver: SolverName | None = None,
    seed: int = 0,
    label: str = "synthetic records",
) -> list[str]:
    """Make records and write them.

    Static features, length and the outcome for which each is made are those of a training record,
    drawn with replacement: the events are made up, and the outcome too if the model draws it. Share
    the folder accordingly: a rare combination of static features may tell of a patient, whatever
    the events.

    Args:
        model: in evaluation mode, on the data's device.
        data: that it was trained on.
        folder: new or empty.
        records: how many; None for as many as there are training records.
        steps: solver steps, or jumps of a student.
        solver: solver of a teacher.
        seed: of everything drawn.
        label: what the progress display calls the work.

    Returns:
        names of the files.

    Raises:
        UserError: less than one record is wanted, or the folder holds something.
    """
    train = data.split("train")
    count = len(train) if records is None else records
    if count < 1:
        raise UserError(f"records: {count} is less than one; ask for at least one record")
    refuse_filled(folder)  # before the work, not only after it
    progress = Progress(label, count, noun="record")
    parts, done = [], 0
    for made in resampled(model, train, count, steps=steps, solver=solver, seed=seed):
        parts.append(made)
        done += len(made.outcome)
        progress.update(done)
    progress.close()
    about = f"a flow of {data.name}; {ABOUT[model.outcomes]}"
    with whole_output(folder) as whole:
        return export(join(parts), data.schema, whole, about=about, seed=seed)
