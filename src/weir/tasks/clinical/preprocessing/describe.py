"""Proposal of a `datasets` node for a user's clinical records, for `weir data add FOLDER`.

The folder is MEDS, or has a Parquet file for each patient and a CSV of outcomes.
"""

from __future__ import annotations

import re
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from meds import birth_code

from weir.errors import UserError
from weir.files import file_digest
from weir.tasks.clinical.data.schema import Schema
from weir.tasks.clinical.preprocessing.labels import SPLITS
from weir.tasks.clinical.preprocessing.preprocess import process
from weir.tasks.clinical.settings.dataset import SUBJECT_SPLITS, ClinicalDataset
from weir.tasks.proposal import Proposal, rehearse

GROUPS = 12
"""Static codes of one beginning above which they are no subgroups."""

ROWS = 1 << 18
"""Rows of the first shard that subgroups are guessed from."""


def describe(folder: Path) -> Proposal:
    """Propose a node for a folder, with the repairs that it needs.

    Raises:
        UserError: it is no folder of clinical records; one line.
    """
    if not folder.is_dir():
        raise UserError(f"{folder} is no folder; give the one that holds data/ and tasks/ (MEDS)")
    files = sorted(f.relative_to(folder).as_posix() for f in folder.rglob("*.parquet"))
    notes: list[str] = []
    shards = [name for name in files if name.startswith("data/")]
    if shards:
        names, node = _meds(folder, files, shards, notes)
    else:
        names, node = _patient_files(folder, files, notes)
    sha256 = {name: file_digest(folder / name) for name in names}
    node = {"task": "clinical", "source": {"path": str(folder), "sha256": sha256}} | node
    schema = rehearse(lambda node: _process(folder, node), node, notes)
    if schema is not None:
        events = f"{schema.events} events in {schema.sets} sets, {len(schema.codes)} codes"
        parts = ", ".join(f"{count} {part}" for part, count in schema.records.items())
        notes += [f"{r.kind}: {r.count} ({r.detail})" for r in schema.repairs]
        notes.append(f"{events}; records: {parts}, {schema.prevalence:.1%} with {schema.outcome}")
    return Proposal(node, tuple(notes), schema is not None)


def _meds(
    folder: Path, files: list[str], shards: list[str], notes: list[str]
) -> tuple[list[str], dict[str, Any]]:
    """Files of a MEDS folder that count, and the outcome, splits and subgroups found."""
    labels: dict[str, list[str]] = {}
    for name in files:
        match = re.fullmatch(r"tasks/([^/]+)/.+", name)
        if match and "boolean_value" in _columns(folder / name):
            labels.setdefault(match[1], []).append(name)
    if not labels:
        raise UserError(
            f"{folder}: no file tasks/<outcome>/*.parquet has a column 'boolean_value', so that "
            "there is no outcome; add labels as MEDS has them"
        )
    outcome = sorted(labels)[0]
    notes.append(f"outcome: {outcome!r}, among {', '.join(sorted(labels))}")
    splits = [n for n in files if {"subject_id", "split"} <= set(_columns(folder / n))]
    splits = [name for name in splits if name not in shards]
    node: dict[str, Any] = {"outcome": outcome}
    others = [name for name in splits if name != SUBJECT_SPLITS]
    if SUBJECT_SPLITS not in splits and others:
        node["splits"] = others
        notes.append(f"splits: {', '.join(others)}; each is a fold")
    elif others:
        notes.append(f"splits: {SUBJECT_SPLITS}; for folds, set {', '.join(others)}")
    if groups := _subgroups(folder, shards, notes):
        node["subgroups"] = groups
    metadata = [name for name in files if name == "metadata/codes.parquet"]
    labelled = [name for names in labels.values() for name in names]
    return sorted({*shards, *labelled, *splits, *metadata}), node


def _subgroups(folder: Path, shards: list[str], notes: list[str]) -> dict[str, Any]:
    """Static codes that begin alike, before `//`, and ages; from the first rows of the data."""
    columns = {"time", "code", "numeric_value"}
    found = _columns(folder / shards[0])
    if not {"time", "code"} <= set(found):
        return {}
    file = pq.ParquetFile(folder / shards[0])
    batch = next(file.iter_batches(ROWS, columns=sorted(columns & set(found))), None)
    if batch is None:
        return {}
    table = pa.Table.from_batches([batch])
    static = table.filter(pc.is_null(table["time"]))
    codes = sorted({str(code) for code in pc.unique(static["code"]).to_pylist()})
    groups: dict[str, Any] = {}
    for prefix in sorted({code.split("//")[0] for code in codes if "//" in code}):
        alike = [code for code in codes if code.startswith(f"{prefix}//")]
        if 2 <= len(alike) <= GROUPS:
            groups[_word(prefix)] = {"prefix": f"{prefix}//"}
    if "numeric_value" in columns & set(found):
        for code in codes:
            mine = static.filter(pc.equal(static["code"], code))["numeric_value"].drop_null()
            if code.lower() in ("age", "age_years") and len(mine):
                edges = _edges(mine.to_numpy())
                if edges:
                    groups["age"] = {"code": code, "edges": edges}
    if "age" not in groups and pc.any(pc.equal(table["code"], birth_code)).as_py():
        groups["age"] = {"code": birth_code, "edges": [50.0, 65.0, 80.0]}
    for name, rule in groups.items():
        code = rule.get("prefix", rule.get("code"))
        notes.append(f"subgroups.{name}: a guess, by the static code {code!r}")
    return groups


def _edges(values: np.ndarray) -> list[float]:
    """Quartiles, rounded to fives."""
    quartiles = np.quantile(values[np.isfinite(values)], [0.25, 0.5, 0.75]) if len(values) else []
    return sorted({float(5 * round(q / 5)) for q in quartiles})


def _word(text: str) -> str:
    return re.sub(r"[^a-z0-9_-]+", "_", text.lower())[:40]


def _patient_files(
    folder: Path, files: list[str], notes: list[str]
) -> tuple[list[str], dict[str, Any]]:
    """The same of a folder with a file for each patient."""
    patients = [name for name in files if Path(name).stem.isdigit()]
    tables = sorted(f.relative_to(folder).as_posix() for f in folder.rglob("*.csv"))
    if not patients or not tables:
        raise UserError(
            f"{folder}: it has neither data/*.parquet (MEDS) nor numbered Parquet files and a CSV "
            "of outcomes; give another folder"
        )
    subjects = {int(Path(name).stem) for name in patients}
    settings: dict[str, Any] = {}
    outcome = None
    names = list(patients)
    for name in tables:
        try:
            frame = pd.read_csv(folder / name)
        except (ValueError, pd.errors.ParserError):
            continue
        if {"variable", "mean", "std"} <= set(frame):
            settings["statistics"] = name
            names.append(name)
            continue
        ids = [c for c in frame if frame[c].dtype.kind == "i" and subjects & set(frame[c])]
        truths = [c for c in frame if c not in ids and set(frame[c].dropna()) <= {0, 1}]
        if not ids or not truths or outcome is not None:
            continue
        outcome = str(truths[0])
        notes.append(f"outcome: {outcome!r}, among {', '.join(map(str, truths))} of {name}")
        split = [c for c in frame if frame[c].isin([*SPLITS, "validation", "test"]).all()]
        settings |= {"outcomes": name, "subject": str(ids[0])}
        settings["split"] = str(split[0]) if split else None
        names.append(name)
    if outcome is None:
        raise UserError(
            f"{folder}: no CSV has a column of the patients' numbers and one of 0 and 1; add one"
        )
    notes.append("patient_files.prediction_hours: 48 is assumed; set what is right")
    node = {"format": "patient_files", "patient_files": settings, "outcome": outcome}
    splits = [n for n in files if {"subject_id", "split"} <= set(_columns(folder / n))]
    if splits:
        node["splits"] = splits
        names += splits
    return sorted(names), node


def _process(folder: Path, node: dict[str, Any]) -> Schema:
    """Preprocess with a temporary output."""
    config = ClinicalDataset.model_validate(node)
    config = config.fold(0) if len(config.folds) > 1 else config
    with tempfile.TemporaryDirectory() as scratch:
        return process(config, folder, list(node["source"]["sha256"]), "", Path(scratch))


def _columns(file: Path) -> list[str]:
    """Names of the columns of a Parquet file; none if it is damaged."""
    try:
        return list(pq.read_schema(file).names)
    except (OSError, pa.ArrowException):
        return []
