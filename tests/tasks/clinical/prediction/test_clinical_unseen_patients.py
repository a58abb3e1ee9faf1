"""Records that a model was not trained on are read as those of its training were."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pytest
import torch
from clinical_meds import LABELS, Meds, cohort, run_preprocess, save, table

from weir.errors import UserError
from weir.tasks.clinical.prediction.risks import read_newcomers


def asked(meds: Meds, split: str, file: Path) -> Path:
    """The labels of a split's subjects as a file of times, latest first."""
    wanted = {subject for subject, name in meds.splits if name == split}
    table([row for row in reversed(meds.labels) if row[0] in wanted], LABELS, file)
    return file


@pytest.mark.parametrize(
    "settings",
    [
        {"clip": 1.0},
        {"clip": 0.05, "min_records": 20, "set_minutes": 150.0},
        {"lookback_hours": 9.0, "max_sets": 4},
    ],
)
def test_test_records_are_read_as_preprocessing_reads_them(
    tmp_path: Path, settings: dict[str, Any]
) -> None:
    meds = cohort(150)
    # Twice the same subjects at an earlier time; and codes and statics that hardly anybody has.
    meds.labels += [(subject, 13.5, ill) for subject, _, ill in meds.labels]
    meds.events += [(1004, 12.0, "rare", 1.0), (1004, None, "ODD//1", 2.0)]
    meds.events.sort(key=lambda event: event[0])
    meds.write(tmp_path / "raw")
    data = run_preprocess(tmp_path / "raw", tmp_path / "processed", **{"min_records": 5} | settings)
    times = asked(meds, "held_out", tmp_path / "times.parquet")
    (tmp_path / "scratch").mkdir()
    found, frame, notes = read_newcomers(tmp_path / "raw", times, data.schema, tmp_path / "scratch")
    expected = data.split("test")
    assert len(found) == len(expected) == 60 and frame["subject_id"].is_monotonic_increasing
    rows = expected.rows.numpy()
    pd.testing.assert_frame_equal(frame, data.identity.iloc[rows].reset_index(drop=True))
    everybody = torch.arange(60)
    for name, one, other in zip(
        expected.batch(everybody)._fields,
        found.batch(everybody),
        expected.batch(everybody),
        strict=True,
    ):
        if name == "outcome":
            assert one.isnan().all()
        else:
            torch.testing.assert_close(one, other, rtol=0, atol=0, msg=name)
    assert any("codes that the model does not know" in note for note in notes)


def test_what_cannot_be_read_is_refused(tmp_path: Path, meds: Meds) -> None:
    meds.write(tmp_path / "raw")
    schema = run_preprocess(tmp_path / "raw", tmp_path / "processed").schema
    times = asked(meds, "held_out", tmp_path / "times.parquet")
    (tmp_path / "scratch").mkdir()

    def refused(match: str, root: Path = tmp_path / "raw", file: Path = times) -> None:
        with pytest.raises(UserError, match=match) as error:
            read_newcomers(root, file, schema, tmp_path / "scratch")
        assert "\n" not in str(error.value)

    refused("has no data/", root=tmp_path / "processed")
    refused("cannot be read as Parquet", file=tmp_path / "none.parquet")
    stranger = table([(99, 1.0, None)], LABELS, tmp_path / "stranger.parquet")
    refused("subject 99 has no event", file=tmp_path / "stranger.parquet")
    save(stranger.slice(0, 0), tmp_path / "empty.parquet")
    refused("it has no row", file=tmp_path / "empty.parquet")
    save(stranger.drop_columns("prediction_time"), tmp_path / "timeless.parquet")
    refused("column 'prediction_time' is missing", file=tmp_path / "timeless.parquet")
    nobody = stranger.set_column(0, "subject_id", pa.nulls(1, pa.int64()))
    save(nobody, tmp_path / "nobody.parquet")
    refused("column 'subject_id' has 1 nulls; fix them", file=tmp_path / "nobody.parquet")


@pytest.mark.parametrize("infinite", ["error", "missing"])
def test_infinite_values_are_treated_as_in_training(
    tmp_path: Path, meds: Meds, infinite: str
) -> None:
    meds.write(tmp_path / "known")
    schema = run_preprocess(tmp_path / "known", tmp_path / "processed", infinite=infinite).schema
    meds.events.append((5, 3.0, "A", float("inf")))
    meds.write(tmp_path / "raw")
    times = asked(meds, "held_out", tmp_path / "times.parquet")
    (tmp_path / "scratch").mkdir()
    if infinite == "error":
        with pytest.raises(UserError, match="a value of 'A' of subject 5 is infinite"):
            read_newcomers(tmp_path / "raw", times, schema, tmp_path / "scratch")
        return
    found, _, notes = read_newcomers(tmp_path / "raw", times, schema, tmp_path / "scratch")
    assert notes == ["1 infinite values are taken as missing"]
    batch = found.batch(torch.tensor([1]))
    assert batch.measured.sum() == 2 and len(batch.code) == 4
