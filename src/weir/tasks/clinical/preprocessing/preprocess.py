"""A raw folder (MEDS, or a file for each patient) to a processed folder.

Shards are read once, in pieces of whole subjects; what is kept of them goes to disk with
provisional codes, and is rewritten when the training records have told which codes there are and
what their values are like. Memory grows with the number of subjects, not with the events.
"""

from __future__ import annotations

import shutil
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from meds import code_metadata_filepath, data_subdirectory

from weir.artifacts.raw_folder import NAME_FIRST, RawFolder
from weir.artifacts.schema_file import Repair
from weir.errors import Repairable, UserError
from weir.tasks.clinical.data.load import COLUMNS, RECORDS, STATIC, digest, subgroup_column
from weir.tasks.clinical.data.schema import LAW, PARTS, Schema
from weir.tasks.clinical.preprocessing.event_files import Spill
from weir.tasks.clinical.preprocessing.labels import Labels, check_parts, read_labels
from weir.tasks.clinical.preprocessing.meds import MedsReader, Names, Zones, shards_among
from weir.tasks.clinical.preprocessing.patient_files import convert
from weir.tasks.clinical.preprocessing.statics import UNBORN, Statics, static_features
from weir.tasks.clinical.preprocessing.stream import stream
from weir.tasks.clinical.preprocessing.vocabulary import Tally, write_events
from weir.tasks.clinical.settings.dataset import ClinicalDataset


def preprocess(config: ClinicalDataset, raw: Path, output: Path) -> None:
    """Check the records of a raw folder, and write the processed folder.

    Raises:
        UserError: the data is not usable as `config` describes it; one line.
    """
    source = RawFolder.read(raw)
    process(config, raw, source.names, source.combined(NAME_FIRST), output)
    for name in LAW:
        if (raw / name).exists():
            shutil.copyfile(raw / name, output / name)


def process(
    config: ClinicalDataset, raw: Path, names: list[str], sha256: str, output: Path
) -> Schema:
    """The same for the files `names` of a folder; returns the schema written."""
    with tempfile.TemporaryDirectory(dir=output, prefix=".events-") as scratch:
        root = raw
        repairs: list[Repair] = []
        if config.format == "patient_files":
            root = Path(scratch) / "meds"
            names = convert(config, raw, names, root)
        schema, records, static = _read(config, root, names, Path(scratch), output, repairs)
    pq.write_table(pa.Table.from_pandas(records, preserve_index=False), output / RECORDS)
    np.save(output / STATIC, static)
    schema = replace(schema, simulated=(raw / LAW[0]).exists(), source_sha256=sha256)
    schema = replace(schema, digest=digest(output, records))
    schema.save(output)
    return schema


def _read(
    config: ClinicalDataset,
    root: Path,
    names: list[str],
    scratch: Path,
    output: Path,
    repairs: list[Repair],
) -> tuple[Schema, pd.DataFrame, np.ndarray]:
    """Write the events; the schema (unfinished), the table of records and static features."""
    zones = Zones()
    labels, split = read_labels(root, names, config, zones, repairs)
    shards = shards_among(names)
    if not shards:
        raise UserError(f"{root / data_subdirectory}: it has no Parquet file; fix `source.sha256`")
    reader = MedsReader(root, shards, labels.subjects, Names(), zones)
    spill, tally = Spill(scratch), Tally()
    statics = Statics(np.full(len(labels.subjects), UNBORN))
    found = stream(config, reader, labels, spill, tally, statics)
    used = _used(config, root, reader, labels, split, repairs)
    check_parts(str(root / "tasks" / config.outcome), labels.keep(reader.seen > 0))
    all_names = reader.names.names
    features = static_features(statics, labels, used, all_names, config, repairs)
    words = _descriptions(root, names)
    vocabulary = write_events(
        spill, tally, all_names, words, config.min_records, config.clip, output
    )
    spill.save_sets(output)
    empty = int((found.first_set == found.last_set)[used].sum())
    for kind, count, detail in (
        ("time zone", len(zones.zoned), "tables with zoned times: taken in UTC"),
        ("unsorted", found.unsorted, "events that stood before an earlier one: sorted"),
        ("infinite", found.infinite, "values taken as missing"),
        ("truncated", found.truncated, f"records cut to their latest {config.max_sets} sets"),
        ("no timed events", empty, "records without events in their time: kept"),
        ("clipped", vocabulary.clipped, "values drawn in to the code's usual range"),
        (
            "unknown codes",
            vocabulary.unknown_events,
            f"events of {vocabulary.unknown} codes in less than {config.min_records} training "
            "records: kept as unknown",
        ),
    ):
        if count:
            repairs.append(Repair(kind, count, detail))
    part = labels.part[labels.subject]
    records = pd.DataFrame(
        {
            "subject_id": labels.subjects[labels.subject],
            "prediction_time": labels.prediction,
            "part": part,
            "first_set": found.first_set,
            "last_set": found.last_set,
            "origin": found.origin,
            "prediction": found.prediction,
            "outcome": labels.outcome,
        }
    ).astype(COLUMNS)
    for name, group in features.groups.items():
        records[subgroup_column(name)] = group
    records = records[used].reset_index(drop=True)
    train = records["part"] == 0
    schema = Schema(
        task="clinical",
        codes=vocabulary.codes,
        static=features.names,
        static_mean=features.mean,
        static_sd=features.sd,
        outcome=config.outcome,
        prevalence=float(records["outcome"][train].mean()),
        records={name: int((records["part"] == i).sum()) for i, name in enumerate(PARTS)},
        events=spill.events,
        sets=spill.sets,
        subgroups=features.group_names,
        set_minutes=config.set_minutes,
        horizon_hours=float((records["prediction"] - records["origin"])[train].max()) / 60,
        fold=config.folds[0] if len(config.folds) == 1 else None,
        simulated=False,
        repairs=tuple(repairs),
        source_sha256="",
        digest="",
        static_low=features.low,
        static_high=features.high,
        lookback_hours=config.lookback_hours,
        max_sets=config.max_sets,
        infinite=config.infinite,
    )
    return schema, records, features.values[used]


def _used(
    config: ClinicalDataset,
    root: Path,
    reader: MedsReader,
    labels: Labels,
    split: pd.Series,
    repairs: list[Repair],
) -> np.ndarray:
    """Mask `[record]` of the records whose subjects the data has."""
    stray = sorted(reader.others - set(split.index.tolist()))
    if stray:
        if config.unlabelled == "error":
            raise Repairable(
                f"{root / data_subdirectory}: subject {stray[0]} has neither a split nor a label "
                f"({len(stray)} such subjects)",
                "set `unlabelled: drop`",
                "unlabelled",
                "drop",
            )
        repairs.append(Repair("no split", len(stray), "subjects of no split: left out"))
    absent = reader.seen == 0
    if absent.any():
        if config.without_events == "error" or absent.all():
            raise Repairable(
                f"{root / 'tasks' / config.outcome}: subject {labels.subjects[absent.argmax()]} "
                f"has a label, but no event in {data_subdirectory}/ ({int(absent.sum())} such "
                "subjects)",
                "add the missing shard, or set `without_events: drop`",
                "without_events",
                "drop",
            )
        repairs.append(Repair("without events", int(absent.sum()), "subjects left out"))
    return ~absent[labels.subject]


def _descriptions(root: Path, names: list[str]) -> dict[str, str]:
    """What `metadata/codes.parquet` says of the codes, if it is there."""
    if code_metadata_filepath not in names:
        return {}
    file = root / code_metadata_filepath
    try:
        table = pq.read_table(file, columns=["code", "description"]).to_pandas().dropna()
    except (OSError, pa.ArrowException):
        return {}  # Descriptions are for people only, and optional in MEDS.
    return dict(zip(table["code"].astype(str), table["description"].astype(str), strict=True))
