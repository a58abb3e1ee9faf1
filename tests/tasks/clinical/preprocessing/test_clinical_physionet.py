"""PhysioNet 2012 as MEDS, where a mirror of it is at hand."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import numpy as np
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from clinical_meds import run_preprocess, save

MIRROR = os.environ.get("WEIR_DATA_MIRROR", "")


def test_real_records(tmp_path: Path):
    """The first tenth of the subjects, against sums over the raw table."""
    folder = Path(MIRROR) / "clinical" / "physionet2012_meds"
    if not MIRROR or not folder.is_dir():
        pytest.skip("WEIR_DATA_MIRROR does not hold it")
    raw = tmp_path / "raw"
    splits = "metadata/raindrop_splits/split1.parquet"
    table = pq.read_table(folder / splits)
    some = table.filter(pc.less(table["subject_id"], 134_000))
    save(some, raw / splits)
    names = ["data/train/0.parquet", "data/tuning/0.parquet", "data/held_out/0.parquet"]
    labels = [f"tasks/in_hospital_mortality/{n}/0.parquet" for n in ("train", "tuning", "held_out")]
    for name in (*names, *labels):
        table = pq.read_table(folder / name)
        save(table.filter(pc.is_in(table["subject_id"], some["subject_id"])), raw / name)
    (raw / "metadata").mkdir(exist_ok=True)
    shutil.copyfile(folder / "metadata/codes.parquet", raw / "metadata/codes.parquet")
    data = run_preprocess(
        raw,
        tmp_path / "processed",
        outcome="in_hospital_mortality",
        splits=[splits],
        unlabelled="drop",
        subgroups={"icu": {"prefix": "ICU_TYPE//"}},
    )
    timed = [pq.read_table(raw / name) for name in names]
    timed = [t.filter(pc.is_valid(t["time"])) for t in timed]
    end = np.datetime64("2012-01-03", "us")
    timed = [t.filter(pc.less_equal(t["time"], end)) for t in timed]
    assert data.schema.events == sum(map(len, timed))
    assert data.schema.sets == sum(
        len(t.group_by(["subject_id", "time"]).aggregate([])) for t in timed
    )
    train = some.filter(pc.equal(some["split"], "train"))["subject_id"]
    heart = [t.filter(pc.equal(t["code"], "HR")) for t in timed]
    values = np.concatenate(
        [t.filter(pc.is_in(t["subject_id"], train))["numeric_value"].to_numpy() for t in heart]
    )
    code = next(code for code in data.schema.codes if code.name == "HR")
    assert code.description == "Heart rate (bpm)"
    assert code.values == len(values)
    assert code.mean == pytest.approx(values.mean(dtype="float64"))
    assert code.sd == pytest.approx(values.std(dtype="float64"))
    assert data.schema.horizon_hours <= 48
    assert data.schema.subgroups["icu"] == ("unknown", "1", "2", "3", "4")
    # -1, which stands for missing in the challenge's own files, is in none of the codes.
    assert float(np.nanmin(np.load(data.folder / "values.npy"))) != -1
