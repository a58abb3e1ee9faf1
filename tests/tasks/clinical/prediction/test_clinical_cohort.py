"""Synthetic cohorts on disk."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from clinical_flow import small_flow
from clinical_meds import run_preprocess

from weir.errors import UserError
from weir.tasks.clinical.data.load import ClinicalData
from weir.tasks.clinical.prediction.cohort import write_cohort


def test_a_cohort_can_be_preprocessed_like_any_other(tiny_clinical: ClinicalData, tmp_path: Path):
    flow = small_flow(tiny_clinical)
    write_cohort(flow, tiny_clinical, tmp_path / "a", records=60, steps=1, seed=3)
    write_cohort(flow, tiny_clinical, tmp_path / "b", records=60, steps=1, seed=3)
    files = sorted(f.relative_to(tmp_path / "a") for f in (tmp_path / "a").rglob("*.parquet"))
    assert len(files) == 6
    for file in files:
        assert pq.read_table(tmp_path / "a" / file).equals(pq.read_table(tmp_path / "b" / file))
    said = json.loads((tmp_path / "a/metadata/dataset.json").read_text())
    assert said["synthetic"] is True and "resampled" in said["made_by"]
    again = run_preprocess(tmp_path / "a", tmp_path / "processed")
    assert again.schema.records == {"train": 48, "validation": 6, "test": 6}
    assert not {repair.kind for repair in again.schema.repairs} - {"no timed events"}


def test_no_record_is_no_cohort(tiny_clinical: ClinicalData, tmp_path: Path):
    with pytest.raises(UserError, match="at least one record"):
        write_cohort(small_flow(tiny_clinical), tiny_clinical, tmp_path / "a", records=0)
