"""The older form of clinical records, converted once to the Medical Event Data Standard.

Each patient has a Parquet file named by the subject (`132539.parquet`) with the columns
`variable`, `value` and `minute`; a null minute is a static event. A CSV has one row a patient with
the outcome, 0 or 1, and perhaps the split. Minute 0 becomes the beginning of the year 2000.
"""

from __future__ import annotations

from pathlib import Path, PurePosixPath

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from weir.errors import UserError
from weir.tasks.clinical.preprocessing.meds import check_column, open_parquet, read_columns
from weir.tasks.clinical.settings.dataset import SUBJECT_SPLITS, ClinicalDataset, PatientFiles

EPOCH = 946_684_800 * 1_000_000
"""Minute 0: 2000-01-01, in microseconds since 1970."""

MINUTE = 60_000_000
"""Microseconds."""

SHARD = 1 << 21
"""Events of a shard, about."""

DATA = pa.schema(
    [
        ("subject_id", pa.int64()),
        ("time", pa.timestamp("us")),
        ("code", pa.string()),
        ("numeric_value", pa.float32()),
    ]
)


def convert(config: ClinicalDataset, raw: Path, names: list[str], folder: Path) -> list[str]:
    """Write a MEDS folder of the files of a raw folder; returns the names of its files.

    Raises:
        UserError: a file is missing or not as described; one line.
    """
    settings = config.patient_files or PatientFiles()
    splits = [name for name in config.splits or () if name in names]
    patients = _patients(raw, [n for n in names if n.endswith(".parquet") and n not in splits])
    written = _outcomes(config, settings, raw, patients, folder)
    for name in splits:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes((raw / name).read_bytes())
        written.append(name)
    held: list[pa.Table] = []
    rows = 0
    variables: set[str] = set()
    (folder / "data").mkdir(parents=True)

    def flush() -> None:
        if held:
            name = f"data/{len([n for n in written if n.startswith('data/')])}.parquet"
            pq.write_table(pa.concat_tables(held), folder / name)
            written.append(name)
            held.clear()

    for subject, name in sorted(patients.items()):
        table = _patient(raw, name, subject)
        variables.update(pc.unique(table["code"]).to_pylist())
        held.append(table)
        rows += len(table)
        if rows >= SHARD:
            flush()
            rows = 0
    flush()
    _check_statistics(settings, raw, variables)
    return written


def _patients(raw: Path, names: list[str]) -> dict[int, str]:
    """The file of each subject."""
    found: dict[int, str] = {}
    for name in names:
        stem = PurePosixPath(name).stem
        if not stem.isascii() or not stem.isdigit():
            raise UserError(
                f"{raw / name}: a patient's file is named by its number, such as 132539.parquet; "
                "rename it or take it off `source.sha256`"
            )
        if int(stem) in found:
            raise UserError(
                f"{raw / name}: subject {stem} has another file, {found[int(stem)]}; keep one"
            )
        found[int(stem)] = name
    if not found:
        raise UserError(f"{raw}: it has no patient's Parquet file; fix `source.sha256`")
    return found


def _patient(raw: Path, name: str, subject: int) -> pa.Table:
    """The events of a patient, as MEDS has them."""
    parquet = open_parquet(raw, name)
    file = str(raw / name)
    kinds = {"variable": "text", "value": "numbers", "minute": "numbers"}
    for column, kind in kinds.items():
        check_column(file, parquet.schema_arrow, column, kind)
    table = read_columns(file, parquet, list(kinds))
    if missing := table["variable"].null_count:
        raise UserError(f"{file}: column 'variable' has {missing} nulls; fix or drop them")
    minute = table["minute"].cast(pa.float64()).to_numpy()
    if np.isinf(minute).any():
        raise UserError(f"{file}: column 'minute' has infinite values; fix or drop them")
    timed = ~np.isnan(minute)
    time = EPOCH + np.round(np.where(timed, minute, 0) * MINUTE).astype("int64")
    columns = [
        pa.array(np.full(len(table), subject)),
        pa.array(time, mask=~timed).cast(pa.timestamp("us")),
        table["variable"].cast(pa.string()),
        table["value"].cast(pa.float32(), safe=False),
    ]
    return pa.table(columns, schema=DATA)


def _outcomes(
    config: ClinicalDataset,
    settings: PatientFiles,
    raw: Path,
    patients: dict[int, str],
    folder: Path,
) -> list[str]:
    """Write labels, and splits where the CSV has them."""
    file = raw / settings.outcomes
    frame = _read_csv(file, "patient_files.outcomes")
    wanted = {"patient_files.subject": settings.subject, "outcome": config.outcome}
    if config.splits is None:
        if settings.split is None:
            raise UserError(f"{file}: nothing says the splits; set `patient_files.split` or splits")
        wanted["patient_files.split"] = settings.split
    for setting, name in wanted.items():
        if name not in frame:
            there = ", ".join(map(str, frame.columns))
            raise UserError(f"{file}: column {name!r} is missing among {there}; set `{setting}`")
    # Whole numbers with gaps come as floats, as do outcomes.
    outcome = pd.to_numeric(frame[config.outcome], errors="coerce")
    bad = ~(outcome.isin([0, 1]) | frame[config.outcome].isna())
    if bad.any():
        raise UserError(
            f"{file}: column {config.outcome!r} has {frame[config.outcome][bad].iloc[0]!r}, but "
            "only 0 and 1 are outcomes (an empty one is no label); fix it"
        )
    subject = pd.to_numeric(frame[settings.subject], errors="coerce")
    if not np.isfinite(subject).all() or (subject != subject.round()).any():
        raise UserError(f"{file}: column {settings.subject!r} has what is no number; fix it")
    subject = subject.astype("int64")
    known = outcome.notna()
    end = EPOCH + round(settings.prediction_hours * 60 * MINUTE)
    labels = pa.table(
        {
            "subject_id": pa.array(subject[known].to_numpy()),
            "prediction_time": pa.array(np.full(int(known.sum()), end)).cast(pa.timestamp("us")),
            "boolean_value": pa.array(outcome[known].to_numpy() == 1),
        }
    )
    name = f"tasks/{config.outcome}/0.parquet"
    (folder / name).parent.mkdir(parents=True)
    pq.write_table(labels, folder / name)
    written = [name]
    if config.splits is None:
        (folder / SUBJECT_SPLITS).parent.mkdir(parents=True, exist_ok=True)
        split = frame[settings.split].astype(str).replace({"validation": "tuning"})
        split = split.replace({"test": "held_out"})
        table = pa.table({"subject_id": subject.to_numpy(), "split": split.to_numpy()})
        pq.write_table(table, folder / SUBJECT_SPLITS)
        written.append(SUBJECT_SPLITS)
    return written


def _check_statistics(settings: PatientFiles, raw: Path, variables: set[str]) -> None:
    """The statistics name every variable; they are not used, as they may know the test split."""
    if settings.statistics is None:
        return
    file = raw / settings.statistics
    frame = _read_csv(file, "patient_files.statistics")
    for name in ("variable", "mean", "std"):
        if name not in frame:
            raise UserError(f"{file}: column {name!r} is missing; unset `patient_files.statistics`")
    lost = sorted(variables - set(frame["variable"].astype(str)))
    if lost:
        raise UserError(
            f"{file}: variable {lost[0]!r} of the patients is missing ({len(lost)} such), as if it "
            "were of other data; fix or unset `patient_files.statistics`"
        )


def _read_csv(file: Path, setting: str) -> pd.DataFrame:
    if not file.is_file():
        raise UserError(f"{file} does not exist; fix `{setting}`")
    try:
        return pd.read_csv(file)
    except (ValueError, pd.errors.ParserError) as error:
        raise UserError(f"{file} is no CSV ({str(error).splitlines()[0]}); fix it") from None
