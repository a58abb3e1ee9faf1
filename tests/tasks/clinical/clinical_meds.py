"""Made-up records: a MEDS folder of any events, and the way to a processed one."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from weir.artifacts.raw_folder import RawFolder
from weir.tasks.clinical.data.load import ClinicalData, load
from weir.tasks.clinical.preprocessing.preprocess import preprocess
from weir.tasks.clinical.settings.dataset import ClinicalDataset

START = pd.Timestamp("2020-01-01")

NODE: dict[str, Any] = {
    "task": "clinical",
    "source": {"path": "meds", "sha256": {"data/0.parquet": "0" * 64}},
    "outcome": "death",
    "min_records": 1,
    "clip": None,
}

EVENTS = pa.schema(
    [
        ("subject_id", pa.int64()),
        ("time", pa.timestamp("us")),
        ("code", pa.string()),
        ("numeric_value", pa.float32()),
    ]
)
LABELS = pa.schema(
    [
        ("subject_id", pa.int64()),
        ("prediction_time", pa.timestamp("us")),
        ("boolean_value", pa.bool_()),
    ]
)


@dataclass
class Meds:
    """A MEDS folder in the making. Times are hours since 2020; None makes an event static."""

    events: list[tuple[int, float | None, str, float | None]] = field(default_factory=list)
    labels: list[tuple[int, float, bool | None]] = field(default_factory=list)
    splits: list[tuple[int, str]] = field(default_factory=list)
    shards: int = 1

    def write(self, folder: Path) -> None:
        """Write everything; subjects lie together, dealt to shards in the order they came in."""
        order = {n: i for i, n in enumerate(dict.fromkeys(event[0] for event in self.events))}
        for shard in range(self.shards):
            rows = [event for event in self.events if order[event[0]] % self.shards == shard]
            rows.sort(key=lambda event: order[event[0]])
            table(rows, EVENTS, folder / f"data/{shard}.parquet")
        table(self.labels, LABELS, folder / "tasks/death/0.parquet")
        subject, split = map(list, zip(*self.splits, strict=True))
        splits = pa.table({"subject_id": subject, "split": split})
        save(splits, folder / "metadata/subject_splits.parquet")

    def subject(
        self,
        number: int,
        events: list[tuple[float | None, str, float | None]],
        labels: list[tuple[float, bool]],
        split: str = "train",
    ) -> Meds:
        """Add a subject."""
        self.events += [(number, *event) for event in events]
        self.labels += [(number, *label) for label in labels]
        self.splits.append((number, split))
        return self


def table(rows: list[tuple[Any, ...]], schema: pa.Schema, file: Path) -> pa.Table:
    """Rows whose second column is hours since 2020, as a Parquet file."""
    columns = [list(column) for column in zip(*rows, strict=True)] or [[] for _ in schema]
    columns[1] = [None if hour is None else when(hour) for hour in columns[1]]
    made = pa.table([pa.array(c, f.type) for c, f in zip(columns, schema, strict=True)], schema)
    save(made, file)
    return made


def when(hour: float) -> pd.Timestamp:
    """A time so many hours after the beginning of 2020, to the microsecond."""
    return START + pd.Timedelta(microseconds=round(hour * 3.6e9))


def save(made: pa.Table, file: Path, **options: Any) -> None:
    """Write a table, and the folder it lies in."""
    file.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(made, file, **options)


def run_preprocess(raw: Path, output: Path, **settings: Any) -> ClinicalData:
    """Preprocess all files of a folder, and load the result."""
    names = sorted(
        str(f.relative_to(raw)) for f in raw.rglob("*") if f.is_file() and f.name != "source.json"
    )
    RawFolder.record(raw, "a test", names)
    source = {"path": str(raw), "sha256": dict.fromkeys(names, "0" * 64)}
    config = ClinicalDataset.model_validate(NODE | {"source": source} | settings)
    output.mkdir()
    preprocess(config, raw, output)
    return load(output)


def cohort(subjects: int, seed: int = 0, codes: int = 8) -> Meds:
    """Subjects with 1 to 24 hours of 1 to 4 events each of 8 codes; `c0` tells the outcome.

    Three in five train, one in five validates and one tests. About 30 % have the outcome: their
    values of `c0` are higher by 2 deviations. Codes `c5` and further have no values.
    """
    random = np.random.default_rng(seed)
    made = Meds(shards=3)
    for number in range(subjects):
        ill = bool(random.random() < 0.3)
        events: list[tuple[float | None, str, float | None]] = [
            (None, "Age", float(random.integers(20, 90))),
            (None, random.choice(["SEX//F", "SEX//M"]), None),
        ]
        for hour in np.sort(random.choice(24, random.integers(1, 24), replace=False)):
            for code in random.integers(codes, size=random.integers(1, 5)):
                value = 50 + 10 * (random.standard_normal() + 2 * ill * (code == 0))
                events.append((float(hour), f"c{code}", None if code >= 5 else float(value)))
        split = ("train", "train", "train", "tuning", "held_out")[number % 5]
        made.subject(1000 + number, events, [(24.0, ill)], split)
    return made
