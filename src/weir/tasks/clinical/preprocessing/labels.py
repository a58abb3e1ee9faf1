"""Outcomes at prediction times, and which split each subject is in."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from meds import held_out_split, train_split, tuning_split

from weir.artifacts.schema_file import Repair
from weir.errors import Repairable, UserError
from weir.tasks.clinical.preprocessing.meds import (
    Zones,
    check_column,
    microseconds,
    open_parquet,
    read_columns,
)
from weir.tasks.clinical.settings.dataset import ClinicalDataset

SPLITS = (train_split, tuning_split, held_out_split)
"""Names of the splits, in the order of `schema.PARTS`."""

KEYS = ("subject_id", "prediction_time")
"""Columns that name a record, in MEDS's labels."""


@dataclass(frozen=True)
class Labels:
    """Records in order of subject and prediction time.

    Attributes:
        subjects: `[subject]` int64, ascending.
        part: `[subject]` int64: 0 train, 1 validation, 2 test.
        start: `[subject + 1]` int64: the first record of each subject.
        prediction: `[record]` int64, microseconds since 1970.
        outcome: `[record]` bool.
    """

    subjects: np.ndarray
    part: np.ndarray
    start: np.ndarray
    prediction: np.ndarray
    outcome: np.ndarray

    @property
    def subject(self) -> np.ndarray:
        """`[record]` int64, number of each record's subject."""
        return np.repeat(np.arange(len(self.subjects)), np.diff(self.start))

    def keep(self, subjects: np.ndarray) -> Labels:
        """Those of the subjects of a mask `[subject]`."""
        records = subjects[self.subject]
        counts = np.diff(self.start)[subjects]
        return replace(
            self,
            subjects=self.subjects[subjects],
            part=self.part[subjects],
            start=np.r_[0, counts.cumsum()],
            prediction=self.prediction[records],
            outcome=self.outcome[records],
        )


def read_labels(
    root: Path, names: Sequence[str], config: ClinicalDataset, zones: Zones, repairs: list[Repair]
) -> tuple[Labels, pd.Series]:
    """Labels of the subjects of the three splits, and the split of every subject by its id.

    Args:
        root: a MEDS folder.
        names: its files.
        config: which outcome and which splits.
        zones: takes note of the labels' times.
        repairs: what is left out is added.

    Raises:
        UserError: labels contradict each other, or miss, or a split has no record.
    """
    split = read_splits(root, config.split_files[0])
    frame = _read_outcome(root, names, config, zones, repairs)
    where = f"{root / 'tasks' / config.outcome}"
    frame["part"] = frame["subject_id"].map(split)
    lost = frame["part"].isna()
    if lost.any():
        subjects = frame["subject_id"][lost].unique()
        raise UserError(
            f"{where}: subject {subjects[0]} has a label but no split ({len(subjects)} such "
            f"subjects); add them to {config.split_files[0]}"
        )
    frame = frame[frame["part"].isin(SPLITS)]
    labelled = np.isin(split.index.to_numpy(), frame["subject_id"].unique())
    without = split[~labelled & split.isin(SPLITS).to_numpy()]
    if len(without):
        if config.unlabelled == "error":
            raise Repairable(
                f"{where}: subject {without.index[0]} of split {without.iloc[0]!r} has no label "
                f"({len(without)} such subjects), and none is no negative",
                "set `unlabelled: drop`",
                "unlabelled",
                "drop",
            )
        repairs.append(Repair("unlabelled", len(without), "subjects without a label: left out"))
    others = split[~split.isin(SPLITS)]
    if len(others):
        listed = ", ".join(sorted(others.unique())[:8])
        repairs.append(Repair("other splits", len(others), f"subjects in {listed}: left out"))
    frame = frame.sort_values(["subject_id", "prediction_time"], kind="stable")
    subjects, first = np.unique(frame["subject_id"].to_numpy(), return_index=True)
    part = frame["part"].map({name: i for i, name in enumerate(SPLITS)}).to_numpy("int64")
    labels = Labels(
        subjects,
        part[first],
        np.r_[first, len(frame)],
        frame["prediction_time"].to_numpy("int64"),
        frame["outcome"].to_numpy(bool),
    )
    return labels, split


def check_parts(where: str, labels: Labels) -> None:
    """Each split has records, and the training split both outcomes.

    Raises:
        UserError: one does not.
    """
    part = labels.part[labels.subject]
    for number, name in enumerate(SPLITS):
        if not (part == number).any():
            raise UserError(f"{where}: split {name!r} has no record; fix the splits or labels")
    outcome = labels.outcome[part == 0]
    if outcome.all() or not outcome.any():
        only = "has" if outcome.all() else "has not"
        raise UserError(
            f"{where}: every training record {only} the outcome, so that nothing can be learnt; "
            "choose another outcome"
        )


def read_splits(root: Path, name: str) -> pd.Series:
    """The split of each subject, indexed by `subject_id`, ascending.

    Raises:
        UserError: the file is missing or damaged, or a subject is in two splits.
    """
    file = root / name
    if not file.is_file():
        raise UserError(f"{file} does not exist; name files of `subject_id`, `split` in `splits`")
    parquet = open_parquet(root, name)
    check_column(str(file), parquet.schema_arrow, "subject_id", "whole")
    check_column(str(file), parquet.schema_arrow, "split", "text")
    table = read_columns(str(file), parquet, ["subject_id", "split"])
    frame = table.to_pandas().astype({"split": object})
    if frame.isna().any(axis=None):
        raise UserError(f"{file}: it has nulls; fix or drop these rows")
    frame = frame.drop_duplicates()
    twice = frame["subject_id"].duplicated(keep=False)
    if twice.any():
        subject = frame["subject_id"][twice].iloc[0]
        names = " and ".join(repr(s) for s in frame["split"][frame["subject_id"] == subject])
        raise UserError(
            f"{file}: subject {subject} is in splits {names} "
            f"({frame['subject_id'][twice].nunique()} such subjects); keep each in one"
        )
    return frame.set_index("subject_id")["split"].sort_index()


def _read_outcome(
    root: Path, names: Sequence[str], config: ClinicalDataset, zones: Zones, repairs: list[Repair]
) -> pd.DataFrame:
    """Columns `subject_id`, `prediction_time` (microseconds) and `outcome`."""
    folder = f"tasks/{config.outcome}/"
    shards = [name for name in names if name.startswith(folder) and name.endswith(".parquet")]
    if not shards:
        there = sorted({n.split("/")[1] for n in names if n.startswith("tasks/") and "/" in n[6:]})
        raise UserError(
            f"{root / folder}: it has no labels; `outcome` may be {', '.join(there) or 'nothing'}"
        )
    frames = []
    for name in shards:
        file = str(root / name)
        parquet = open_keyed(root, name, zones)
        schema = parquet.schema_arrow
        if schema.get_field_index("boolean_value") < 0:
            there = ", ".join(n for n in schema.names if n.endswith("_value")) or "no value"
            raise UserError(
                f"{file}: it has {there}, but only yes or no can be predicted; write a column "
                "'boolean_value'"
            )
        check_column(file, schema, "boolean_value", "truth")
        frame, table = read_keyed(file, parquet, "boolean_value")
        frames.append(frame.assign(outcome=table["boolean_value"].to_pandas()))
    frame = pd.concat(frames, ignore_index=True)
    null = frame["outcome"].isna()
    if null.any():
        if config.unlabelled == "error":
            subject = frame["subject_id"][null].iloc[0]
            raise Repairable(
                f"{root / folder}: the label of subject {subject} is null ({int(null.sum())} such "
                "labels), and none is no negative",
                "set `unlabelled: drop`",
                "unlabelled",
                "drop",
            )
        repairs.append(Repair("null labels", int(null.sum()), "records left out"))
        frame = frame[~null]
    again = frame.duplicated()
    if again.any():
        repairs.append(Repair("repeated labels", int(again.sum()), "kept once"))
        frame = frame[~again]
    twice = frame.duplicated(["subject_id", "prediction_time"])
    if twice.any():
        subject, micro = frame[["subject_id", "prediction_time"]][twice].iloc[0]
        when = datetime.fromtimestamp(micro / 1e6, UTC).replace(tzinfo=None)
        raise UserError(
            f"{root / folder}: subject {subject} has two labels that differ at {when} "
            f"({int(twice.sum())} such times); keep one of each"
        )
    return frame


def open_keyed(root: Path, name: str, zones: Zones) -> pq.ParquetFile:
    """A Parquet file below `root` that says of whom and when: MEDS's `KEYS`.

    Raises:
        UserError: it cannot be read, or lacks these columns.
    """
    file, parquet = str(root / name), open_parquet(root, name)
    subject, time = KEYS
    check_column(file, parquet.schema_arrow, subject, "whole")
    zones.add(file, check_column(file, parquet.schema_arrow, time, "time"))
    return parquet


def read_keyed(file: str, parquet: pq.ParquetFile, *others: str) -> tuple[pd.DataFrame, pa.Table]:
    """Its `KEYS`, times in microseconds since 1970, and the table of these and other columns.

    Raises:
        UserError: a subject or a time is missing, or pages are damaged.
    """
    table = read_columns(file, parquet, [*KEYS, *others])
    for column in KEYS:
        if table[column].null_count:
            raise UserError(
                f"{file}: column {column!r} has {table[column].null_count} nulls; fix them"
            )
    subject, time = KEYS
    frame = pd.DataFrame(
        {
            subject: table[subject].cast(pa.int64()).to_numpy(),
            time: microseconds(table[time]),
        }
    )
    return frame, table
