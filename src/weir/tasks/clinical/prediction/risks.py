"""Risks of patients that a model was not trained on, as a Parquet file.

The patients are those of a MEDS folder, which is read as that of the model's training was.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from torch import nn

from weir.errors import UserError, WeirError
from weir.progress import Progress
from weir.tasks.clinical.baselines.constants import predicts_risk
from weir.tasks.clinical.data.load import load_store
from weir.tasks.clinical.data.records import RecordSet, RecordTable
from weir.tasks.clinical.data.schema import Schema
from weir.tasks.clinical.preprocessing.event_files import Spill
from weir.tasks.clinical.preprocessing.labels import Labels, open_keyed, read_keyed
from weir.tasks.clinical.preprocessing.meds import MedsReader, Names, Zones, shards_among
from weir.tasks.clinical.preprocessing.statics import UNBORN, Statics, known_features
from weir.tasks.clinical.preprocessing.stream import stream
from weir.tasks.clinical.preprocessing.vocabulary import Tally, write_known_events
from weir.tasks.clinical.settings.dataset import ClinicalDataset


def read_newcomers(
    root: Path, times: Path, schema: Schema, scratch: Path
) -> tuple[RecordSet, pd.DataFrame, list[str]]:
    """Records of a MEDS folder at given times, with the codes and limits of a schema.

    Memory grows with the number of subjects; events are mapped from `scratch` if they are many.

    Args:
        root: has `data/**/*.parquet`; no splits nor labels are needed.
        times: Parquet file of `subject_id` and `prediction_time`, such as one of MEDS labels,
            whose other columns are not read.
        schema: of the data that a model was trained on.
        scratch: empty folder, in use as long as the records are.

    Returns:
        the records in order of subject and time (their `outcome` is NaN), a table of their
        `subject_id` and `prediction_time` (microseconds since 1970), and notes for people.

    Raises:
        UserError: files that are not MEDS, subjects without events, infinite values; one line.
    """
    shards = shards_among([f.relative_to(root).as_posix() for f in root.rglob("*.parquet")])
    if not shards:
        raise UserError(f"{root}: it has no data/**/*.parquet; name a MEDS folder")
    zones = Zones()
    frame = _read_times(times, zones)
    labels = _unlabelled(frame)
    # The settings that say what a record sees; the others are of the training records alone.
    config = ClinicalDataset.model_construct(
        set_minutes=schema.set_minutes,
        lookback_hours=schema.lookback_hours,
        max_sets=schema.max_sets,
        infinite=schema.infinite,
    )
    reader = MedsReader(root, shards, labels.subjects, Names(), zones)
    spill, statics = Spill(scratch), Statics(np.full(len(labels.subjects), UNBORN))
    found = stream(config, reader, labels, spill, Tally(), statics)
    absent = reader.seen == 0
    if absent.any():
        raise UserError(
            f"{times}: subject {labels.subjects[absent.argmax()]} has no event in {root / 'data'} "
            f"({int(absent.sum())} such subjects); leave them out, or add their shard"
        )
    spill.save_sets(scratch)
    unknown = write_known_events(spill, reader.names.names, schema.codes, scratch)
    table = RecordTable(
        **{
            name: torch.from_numpy(getattr(found, name))
            for name in ("first_set", "last_set", "origin", "prediction")
        },
        outcome=torch.full((len(frame),), torch.nan),
        static=torch.from_numpy(known_features(statics, labels, reader.names.names, schema)),
        groups=torch.zeros(len(frame), 0, dtype=torch.int64),
    )
    records = RecordSet(load_store(scratch, schema), table, torch.arange(len(frame)), {})
    empty = int((records.sets == 0).sum())
    notes = [
        f"{count} {what}"
        for count, what in (
            (unknown, f"of {spill.events} events have codes that the model does not know"),
            (empty, f"of {len(frame)} records have no event before their time"),
            (found.infinite, "infinite values are taken as missing"),
            (len(zones.zoned), "tables have zoned times, taken in UTC"),
        )
        if count
    ]
    return records, frame, notes


def _read_times(file: Path, zones: Zones) -> pd.DataFrame:
    """Columns `subject_id` and `prediction_time` (microseconds), each pair once, in their order."""
    parquet = open_keyed(file.parent, file.name, zones)
    frame, _ = read_keyed(str(file), parquet)
    if frame.empty:
        raise UserError(f"{file}: it has no row; say for whom and when a risk is wanted")
    return frame.drop_duplicates().sort_values(list(frame)).reset_index(drop=True)


def _unlabelled(frame: pd.DataFrame) -> Labels:
    """Records without outcome, none of which trains anything."""
    subjects, first = np.unique(frame["subject_id"].to_numpy(), return_index=True)
    return Labels(
        subjects=subjects,
        part=np.full(len(subjects), 2),
        start=np.r_[first, len(frame)],
        prediction=frame["prediction_time"].to_numpy("int64"),
        outcome=np.zeros(len(frame), bool),
    )


@torch.no_grad()
def write_risks(
    model: nn.Module,
    name: str,
    schema: Schema,
    root: Path,
    times: Path,
    output: Path,
    scratch: Path,
) -> list[str]:
    """Write `subject_id`, `prediction_time` and `predicted_boolean_probability`.

    Args:
        model: in evaluation mode.
        name: its node, for messages.
        schema: of the data that it was trained on.
        root: a MEDS folder.
        times: Parquet file that says for whom and when, see `read_newcomers`.
        output: the file to write.
        scratch: empty folder beside it.

    Returns:
        notes for people.

    Raises:
        UserError: the model has no risk, or the data cannot be used.
        WeirError: a risk is not finite.
    """
    if not predicts_risk(model):
        raise UserError(
            f"{name} predicts no outcome; name a model with a head, or a baseline of the outcome"
        )
    records, frame, notes = read_newcomers(root, times, schema, scratch)
    progress = Progress(name, len(records), noun="record")
    parts = []
    for items, batch in records.all():
        parts.append(model.risk(batch).sigmoid())
        progress.update(int(items[-1]) + 1)
    progress.close()
    risk = torch.cat(parts)
    if bad := int((~risk.isfinite()).sum()):
        raise WeirError(f"{name}: {bad} of {len(risk)} risks are not finite")
    when = pa.array(frame["prediction_time"].to_numpy(), pa.timestamp("us"))
    table = pa.table(
        {
            "subject_id": frame["subject_id"].to_numpy(),
            "prediction_time": when,
            "predicted_boolean_probability": risk.double().numpy(),
        }
    )
    whole = scratch / output.name
    pq.write_table(table, whole)
    whole.replace(output)
    return notes
