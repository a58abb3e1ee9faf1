"""Simulated intensive-care stays whose outcome has a known risk, in MEDS form.

A latent severity makes visits and panels more frequent, moves what they measure by way of organs
that share it, and sets the risk of the outcome. After the prediction there are events that reveal
the outcome, as in any hospital's records: a pipeline that sees them is wrong, and shows it.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from meds import (
    code_metadata_filepath,
    data_subdirectory,
    dataset_metadata_filepath,
    death_code,
    held_out_split,
    subject_splits_filepath,
    train_split,
    tuning_split,
)

from weir.tasks.clinical.settings.simulator import Simulation
from weir.tasks.clinical.simulation.codes import CODES, DISCHARGE, STATIC
from weir.tasks.clinical.simulation.events import Seen, observe
from weir.tasks.clinical.simulation.filter import filtered_risk
from weir.tasks.clinical.simulation.law import Law, save
from weir.tasks.clinical.simulation.severity import (
    Calibration,
    Patients,
    calibrate,
    draw_patients,
    risk_of,
)

OUTCOME = "in_hospital_mortality"
SPLITS = (train_split, tuning_split, held_out_split)

BLOCK = 10_000
"""Patients drawn at a time; each block has shards of its own."""

NO_TIME = np.iinfo("int64").min
SECOND = 1_000_000
NAMES = (*CODES, *STATIC, death_code, DISCHARGE)
NUMBER = {name: number for number, name in enumerate(NAMES)}


@dataclass(frozen=True)
class _Rows:
    """Events of a block: `[event]` subject, microseconds since 1970, number in NAMES and value."""

    subject: np.ndarray
    time: np.ndarray
    code: np.ndarray
    value: np.ndarray


def simulate(settings: Simulation, folder: Path) -> list[str]:
    """Write a MEDS folder and the law of its records; returns the names of the files."""
    law = calibrate(settings)
    count = settings.patients
    subjects = 1 + np.arange(count)
    split = _splits(settings)
    admitted = _admissions(settings)
    predicted = admitted + round(settings.hours * 3600) * SECOND
    names: list[str] = []
    found: list[tuple[np.ndarray, ...]] = []
    for block, rows in enumerate(np.split(np.arange(count), range(BLOCK, count, BLOCK))):
        random = np.random.default_rng([settings.seed, 2, block])
        patients = draw_patients(settings, len(rows), random)
        seen = observe(settings, law, patients, random)
        risk = risk_of(patients.score, law.intercept, law.slope)
        outcome = random.random(len(rows)) < risk
        events = _events(
            settings, subjects[rows], admitted[rows], predicted[rows], patients, seen, outcome
        )
        for number, name in enumerate(SPLITS):
            here = split[events.subject - 1] == number
            if here.any():
                names.append(f"{data_subdirectory}/{name}/{block}.parquet")
                _write(_table(events, here), folder / names[-1])
        told = _filtered(settings, law, patients, seen, split[rows] == 2)
        found.append((risk, told, patients.severity.astype("float32"), outcome))
    risk, told, severity, outcome = (np.concatenate(piece) for piece in zip(*found, strict=True))
    names += _labels(folder, subjects, predicted, outcome, split)
    names += _metadata(folder, subjects, split)
    record = Law(
        torch.from_numpy(risk),
        torch.from_numpy(told),
        torch.from_numpy(severity),
        settings.step_minutes / 60,
        law.ceiling,
    )
    return names + save(folder, record, subjects, predicted, settings.model_dump())


def _splits(settings: Simulation) -> np.ndarray:
    """Number of each patient's split, `[patient]` int64."""
    random = np.random.default_rng([settings.seed, 3])
    ends = np.cumsum([settings.train_share, settings.tuning_share]) * settings.patients
    place = random.permutation(settings.patients)
    return np.searchsorted(ends.round(), place, side="right")


def _admissions(settings: Simulation) -> np.ndarray:
    """Time of each admission, `[patient]` int64 microseconds since 1970, in whole minutes."""
    random = np.random.default_rng([settings.seed, 4])
    begin = np.datetime64("2020-01-01", "us").astype("int64")
    return begin + random.integers(2 * 365 * 24 * 60, size=settings.patients) * 60 * SECOND


def _filtered(
    settings: Simulation, law: Calibration, patients: Patients, seen: Seen, chosen: np.ndarray
) -> np.ndarray:
    """Filtered risk of the chosen patients, NaN for the others, `[patient]`."""
    told = np.full(len(chosen), np.nan)
    if settings.particles and chosen.any():
        # A generator of its own: the patients are the same with and without.
        random = np.random.default_rng([settings.seed, 5])
        told[chosen] = filtered_risk(settings, law, patients, seen, chosen.nonzero()[0], random)
    return told


def _events(
    settings: Simulation,
    subjects: np.ndarray,
    admitted: np.ndarray,
    predicted: np.ndarray,
    patients: Patients,
    seen: Seen,
    outcome: np.ndarray,
) -> _Rows:
    """All events in order of subject and time, those without a time first."""
    count = len(subjects)
    never, none = np.full(count, NO_TIME), np.full(count, np.nan, "float32")
    sex = np.where(patients.female, NUMBER["GENDER//F"], NUMBER["GENDER//M"])
    pieces = [
        (subjects, never, np.full(count, NUMBER["Age"]), patients.age.astype("float32")),
        (subjects, never, sex, none),
        (subjects, never, NUMBER["ICU_TYPE//1"] + patients.icu, none),
        (
            subjects[seen.patient],
            admitted[seen.patient] + seen.second * SECOND,
            seen.code,
            seen.value,
        ),
    ]
    if settings.leaks:
        random = np.random.default_rng([settings.seed, 6, int(subjects[0])])
        lactate = np.where(
            outcome, 15 + 10 * random.random(count), 0.5 + 0.5 * random.random(count)
        )
        later = predicted + random.integers(1, 72 * 3600, count) * SECOND
        end = np.where(outcome, NUMBER[death_code], NUMBER[DISCHARGE])
        code = np.full(count, NUMBER["Lactate"])
        pieces.append((subjects, predicted + SECOND, code, lactate.round(2).astype("float32")))
        pieces.append((subjects, later + SECOND, end, none))
    subject, time, code, value = (np.concatenate(p) for p in zip(*pieces, strict=True))
    order = np.lexsort((time, subject))
    return _Rows(subject[order], time[order], code[order], value[order])


def _table(events: _Rows, chosen: np.ndarray) -> pa.Table:
    """The chosen events as MEDS asks for them."""
    time, value = events.time[chosen], events.value[chosen]
    codes = pa.DictionaryArray.from_arrays(pa.array(events.code[chosen], pa.int32()), list(NAMES))
    return pa.table(
        {
            "subject_id": events.subject[chosen],
            "time": pa.array(time, pa.int64(), mask=time == NO_TIME).cast(pa.timestamp("us")),
            "code": codes.cast(pa.string()),
            "numeric_value": pa.array(value, pa.float32(), mask=np.isnan(value)),
        }
    )


def _labels(
    folder: Path,
    subjects: np.ndarray,
    predicted: np.ndarray,
    outcome: np.ndarray,
    split: np.ndarray,
) -> list[str]:
    names = []
    for number, name in enumerate(SPLITS):
        here = split == number
        names.append(f"tasks/{OUTCOME}/{name}/0.parquet")
        columns = {
            "subject_id": subjects[here],
            "prediction_time": pa.array(predicted[here]).cast(pa.timestamp("us")),
            "boolean_value": outcome[here],
        }
        _write(pa.table(columns), folder / names[-1])
    return names


def _metadata(folder: Path, subjects: np.ndarray, split: np.ndarray) -> list[str]:
    splits = pa.table({"subject_id": subjects, "split": [SPLITS[i] for i in split]})
    _write(splits, folder / subject_splits_filepath)
    described = {**CODES, **STATIC, death_code: "Death", DISCHARGE: "Discharge alive"}
    columns = {"code": list(described), "description": list(described.values())}
    parents = pa.array([None] * len(described), pa.list_(pa.string()))
    _write(pa.table({**columns, "parent_codes": parents}), folder / code_metadata_filepath)
    told = {"dataset_name": "weir simulated stays", "meds_version": "0.4.1"}
    (folder / dataset_metadata_filepath).write_text(json.dumps(told, indent=1) + "\n")
    return [subject_splits_filepath, code_metadata_filepath, dataset_metadata_filepath]


def _write(table: pa.Table, file: Path) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table, file)
