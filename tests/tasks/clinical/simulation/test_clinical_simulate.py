"""Simulated stays: valid MEDS, the way through preprocessing, their law, and the traps."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
import torch
from clinical_meds import run_preprocess, save
from meds import (
    CodeMetadataSchema,
    DataSchema,
    DatasetMetadataSchema,
    LabelSchema,
    SubjectSplitSchema,
)
from pydantic import ValidationError

from weir.errors import UserError
from weir.tasks.clinical.data.load import ClinicalData
from weir.tasks.clinical.settings.simulator import Simulation
from weir.tasks.clinical.simulation import simulate as simulating
from weir.tasks.clinical.simulation.law import RISKS, load
from weir.tasks.clinical.simulation.simulate import OUTCOME, simulate

SETTINGS = Simulation(patients=200, hours=12, seed=3, particles=50)
SPLITS = ("train", "tuning", "held_out")


@pytest.fixture(scope="module")
def raw(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("raw")
    names = simulate(SETTINGS, folder)
    assert sorted(names) == sorted(
        f.relative_to(folder).as_posix() for f in folder.rglob("*") if f.is_file()
    )
    return folder


@pytest.fixture(scope="module")
def processed(raw: Path, tmp_path_factory: pytest.TempPathFactory) -> ClinicalData:
    output = tmp_path_factory.mktemp("processed") / "ward"
    return run_preprocess(raw, output, outcome=OUTCOME, subgroups={"sex": {"prefix": "GENDER//"}})


def test_files_are_meds(raw: Path):
    for split in SPLITS:
        table = pq.read_table(raw / f"data/{split}/0.parquet")
        DataSchema.validate(table)
        LabelSchema.align(pq.read_table(raw / f"tasks/{OUTCOME}/{split}/0.parquet"))
        time = table["time"].cast("int64").fill_null(-(2**63)).to_numpy()
        subject = table["subject_id"].to_numpy()
        assert (np.lexsort((time, subject)) == np.arange(len(time))).all()
    SubjectSplitSchema.validate(pq.read_table(raw / "metadata/subject_splits.parquet"))
    codes = pq.read_table(raw / "metadata/codes.parquet")
    CodeMetadataSchema.validate(codes)
    table = pq.read_table(raw / "data/train/0.parquet")
    assert set(table["code"].unique().to_pylist()) <= set(codes["code"].to_pylist())
    DatasetMetadataSchema.validate(json.loads((raw / "metadata/dataset.json").read_bytes()))


def test_the_ordinary_reader_reads_it_without_repairs(processed: ClinicalData):
    schema = processed.schema
    assert schema.simulated
    assert schema.records == {"train": 140, "validation": 30, "test": 30}
    assert {repair.kind for repair in schema.repairs} <= {"clipped", "unknown codes"}
    assert 25 <= len(schema.codes) <= 29
    train = processed.split("train")
    assert torch.allclose(train.end, torch.tensor(12.0))  # all begin with the admission
    assert 30 < float(train.events.float().mean()) < 80
    assert not {"MEDS_DEATH", "DISCHARGE"} & {code.name for code in schema.codes}


def test_what_lies_after_the_prediction_reveals_the_outcome_and_is_not_seen(
    raw: Path, processed: ClinicalData, tmp_path: Path
):
    events = pq.read_table(raw / "data/train/0.parquet")
    label = pq.read_table(raw / f"tasks/{OUTCOME}/train/0.parquet")
    dead = pc.equal(events["code"], "MEDS_DEATH")
    ill = label.filter(label["boolean_value"])["subject_id"]
    assert sorted(events.filter(dead)["subject_id"].to_pylist()) == sorted(ill.to_pylist())
    joined = events.join(label, "subject_id")
    after = joined.filter(pc.greater(joined["time"], joined["prediction_time"]))
    lactate = after.filter(pc.equal(after["code"], "Lactate"))
    value, outcome = lactate["numeric_value"].to_numpy(), lactate["boolean_value"].to_numpy(False)
    assert value[outcome].min() > 10 > 1 >= value[~outcome].max()
    # The very same processed arrays without them.
    simulate(SETTINGS.model_copy(update={"leaks": False}), tmp_path / "raw")
    clean = run_preprocess(tmp_path / "raw", tmp_path / "out", outcome=OUTCOME)
    assert clean.schema.events == processed.schema.events
    for name in ("codes.npy", "values.npy", "set_time.npy", "set_first.npy"):
        assert (clean.folder / name).read_bytes() == (processed.folder / name).read_bytes()


def test_the_law_is_in_the_order_of_the_processed_records(raw: Path, processed: ClinicalData):
    law, whole = load(processed.folder), load(raw)
    assert torch.equal(law.risk, whole.risk)
    assert law.severity.shape == (200, 24)
    assert law.step_hours == 0.5
    test = processed.part == 2
    assert law.filtered_risk[test].isfinite().all()
    assert law.filtered_risk[~test].isnan().all()
    outcome = processed.table.outcome.double()
    # Outcomes are drawn by the risk: their sum, and that weighted by the risk, within 4 sd.
    for weight in (torch.ones(200), law.risk):
        off = (weight * (outcome - law.risk)).sum()
        assert off.abs() < 4 * (weight**2 * law.risk * (1 - law.risk)).sum().sqrt()
    assert law.risk[outcome == 1].mean() > law.risk[outcome == 0].mean() + 0.1


def test_the_law_of_some_records_only(raw: Path, tmp_path: Path):
    copy = tmp_path / "raw"
    shutil.copytree(raw, copy)
    table = pq.read_table(copy / f"tasks/{OUTCOME}/train/0.parquet")
    save(table.slice(40), copy / f"tasks/{OUTCOME}/train/0.parquet")
    data = run_preprocess(copy, tmp_path / "some", outcome=OUTCOME, unlabelled="drop")
    law, whole = load(data.folder), load(raw)
    rows = data.identity["subject_id"].to_numpy() - 1
    assert len(law.risk) == 160
    assert torch.equal(law.risk, whole.risk[rows])
    assert torch.equal(law.severity, whole.severity[rows])


def test_a_seed_makes_equal_bytes_and_another_one_others(tmp_path: Path):
    small = Simulation(patients=40, hours=4, particles=20, train_share=0.6)
    folders = [tmp_path / name for name in "abc"]
    for folder, seed in zip(folders, (0, 0, 1), strict=True):
        folder.mkdir()
        names = simulate(small.model_copy(update={"seed": seed}), folder)
    for name in names:
        assert (folders[0] / name).read_bytes() == (folders[1] / name).read_bytes()
    assert (folders[0] / RISKS).read_bytes() != (folders[2] / RISKS).read_bytes()


def test_patients_come_in_blocks_with_shards_of_their_own(tmp_path: Path, monkeypatch):
    monkeypatch.setattr(simulating, "BLOCK", 30)
    (tmp_path / "raw").mkdir()
    simulate(SETTINGS.model_copy(update={"patients": 70}), tmp_path / "raw")
    data = run_preprocess(tmp_path / "raw", tmp_path / "out", outcome=OUTCOME)
    assert len(list((tmp_path / "raw/data/train").iterdir())) == 3
    assert sum(data.schema.records.values()) == 70
    assert load(data.folder).filtered_risk[data.part == 2].isfinite().all()


def test_artefacts_and_nulls_are_as_frequent_as_asked(tmp_path: Path):
    settings = SETTINGS.model_copy(update={"artefacts": 0.2, "missing_values": 0.1, "leaks": False})
    simulate(settings, tmp_path)
    table = pq.read_table(tmp_path / "data/train/0.parquet")
    heart = table.filter(pc.equal(table["code"], "HR"))["numeric_value"].to_numpy()
    null = np.isnan(heart)
    false = (heart[~null] == 0) | (heart[~null] > 250)
    assert null.mean() == pytest.approx(0.1, abs=4 * np.sqrt(0.09 / len(null)))
    assert false.mean() == pytest.approx(0.2, abs=4 * np.sqrt(0.16 / len(false)))


def test_errors(tmp_path: Path, raw: Path):
    with pytest.raises(UserError, match="known only of a simulated"):
        load(tmp_path)
    shutil.copytree(raw, tmp_path / "raw")
    (tmp_path / "raw/law_severity.npy").write_bytes(b"")
    with pytest.raises(UserError, match=r"law.json is damaged .*rerun weir preprocess"):
        load(tmp_path / "raw")
    with pytest.raises(ValidationError, match="less than 5 patients"):
        Simulation(patients=40, train_share=0.9, tuning_share=0.09)
