"""Time and memory of preprocessing clinical records, and of loading batches of them.

    nice python benchmarks/clinical_preprocess.py --subjects 30000
    nice python benchmarks/clinical_preprocess.py            # 300,000

Made-up MEDS shards of 10,000 subjects, each with `SETS` sets of `SIZE` events of 40 codes, are
preprocessed and then loaded in processes of their own, so that each prints its own peak memory.
The aims are two million events a second, memory that does not grow with the events, and less than
.02 ms for a record of a batch.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch

from weir.tasks.clinical.data.load import load
from weir.tasks.clinical.preprocessing.preprocess import preprocess
from weir.tasks.clinical.settings.dataset import ClinicalDataset

SHARD = 10_000
"""Subjects of a shard."""

SETS, SIZE, CODES = 75, 6, 40
"""Sets of a subject on average, events of a set at most twice that less one, and codes."""

START = np.datetime64("2020-01-01", "us").astype("int64")
HOUR = 3_600_000_000


def write(folder: Path, subjects: int) -> None:
    """Write shards, labels and splits as MEDS, and their `source.json`."""
    random = np.random.default_rng(0)
    names = pa.array([f"LAB//{i}" for i in range(CODES)] + ["SEX//F", "SEX//M"])
    (folder / "data").mkdir()
    files = []
    for first in range(0, subjects, SHARD):
        ids = np.arange(first, min(first + SHARD, subjects))
        sets = random.integers(1, 2 * SETS, len(ids))
        subject = np.repeat(ids, sets)
        step = random.exponential(48 * HOUR / SETS, len(subject)).astype("int64")
        time_ = step.cumsum()
        time_ -= np.repeat(time_[np.r_[0, sets.cumsum()[:-1]]], sets)
        size = random.integers(1, 2 * SIZE, len(subject))
        subject, time_ = np.repeat(subject, size), np.repeat(time_, size) + START
        code = random.integers(CODES, size=len(subject)).astype("int32")
        value = random.standard_normal(len(subject), dtype="float32")
        # A static event before the first of each subject.
        place = np.flatnonzero(np.r_[True, subject[1:] != subject[:-1]])
        subject, time_ = np.insert(subject, place, ids), np.insert(time_, place, 0)
        code, value = np.insert(code, place, CODES + ids % 2), np.insert(value, place, 0)
        static = code >= CODES
        table = pa.table(
            {
                "subject_id": subject,
                "time": pa.array(time_, mask=static).cast(pa.timestamp("us")),
                "code": pa.DictionaryArray.from_arrays(code, names).cast(pa.string()),
                "numeric_value": pa.array(value, mask=static),
            }
        )
        files.append(f"data/{first // SHARD}.parquet")
        pq.write_table(table, folder / files[-1])
    ids = np.arange(subjects)
    split = np.array(["train", "train", "train", "train", "tuning", "held_out"])[ids % 6]
    files += ["metadata/subject_splits.parquet", "tasks/death/0.parquet"]
    (folder / "metadata").mkdir()
    pq.write_table(pa.table({"subject_id": ids, "split": split}), folder / files[-2])
    end = pa.array(np.full(subjects, START + 48 * HOUR)).cast(pa.timestamp("us"))
    labels = {"subject_id": ids, "prediction_time": end, "boolean_value": ids % 7 == 0}
    (folder / "tasks/death").mkdir(parents=True)
    pq.write_table(pa.table(labels), folder / files[-1])
    source = {"origin": "benchmark", "files": [{"name": f, "sha256": "0" * 64} for f in files]}
    (folder / "source.json").write_text(json.dumps(source))
    raw = sum((folder / name).stat().st_size for name in files)
    print(f"wrote {subjects:,} subjects, {raw / 2**30:.2f} GiB of Parquet", flush=True)


def prepare(folder: Path) -> None:
    """Preprocess; print speed and peak memory."""
    names = [file["name"] for file in json.loads((folder / "source.json").read_text())["files"]]
    config = ClinicalDataset.model_validate(
        {
            "task": "clinical",
            "source": {"path": "raw", "sha256": dict.fromkeys(names, "0" * 64)},
            "outcome": "death",
            "subgroups": {"sex": {"prefix": "SEX//"}},
        }
    )
    rows = sum(pq.read_metadata(folder / n).num_rows for n in names if n.startswith("data/"))
    output = folder / "processed"
    output.mkdir()
    base, started, busy = _peak(), time.perf_counter(), time.process_time()
    preprocess(config, folder, output)
    wall, cpu = time.perf_counter() - started, time.process_time() - busy
    print(
        f"preprocess {rows:,} events: {wall:.1f} s, {rows / wall / 1e6:.2f} million a second "
        f"({rows / cpu / 1e6:.2f} per CPU second); peak {_peak():.2f} GiB, {base:.2f} before",
        flush=True,
    )


def iterate(folder: Path) -> None:
    """Load, and gather batches; print the time of a record."""
    started = time.perf_counter()
    data = load(folder / "processed")
    print(f"load: {time.perf_counter() - started:.1f} s, {_peak():.2f} GiB", flush=True)
    train = data.split("train")
    torch.set_num_threads(1)
    for size in (1, 16, 128, 512):
        steps = max(8, 8192 // size)
        items = torch.randint(len(train), (steps, size))
        busy, events = time.process_time(), 0
        for chosen in items:
            events += len(train.batch(chosen).code)
        seconds = (time.process_time() - busy) / items.numel()
        mean = events / items.numel()
        print(f"batches of {size}: {1e3 * seconds:.4f} ms a record of {mean:.0f} events")
    print(f"peak {_peak():.2f} GiB", flush=True)


def _peak() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def main() -> None:
    """Run each step in a process of its own."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--subjects", type=int, default=300_000)
    parser.add_argument("--step", choices=["write", "preprocess", "load"], help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.step == "write":
        write(options.folder, options.subjects)
    elif options.step == "preprocess":
        prepare(options.folder)
    elif options.step == "load":
        iterate(options.folder)
    else:
        with tempfile.TemporaryDirectory() as folder:
            for step in ("write", "preprocess", "load"):
                command = [sys.executable, __file__, "--subjects", str(options.subjects)]
                subprocess.run([*command, "--step", step, "--folder", folder], check=True)


if __name__ == "__main__":
    main()
