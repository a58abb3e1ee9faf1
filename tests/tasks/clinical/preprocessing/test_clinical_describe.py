"""Proposals for a user's folder: outcome, splits and subgroups found, repairs by trying."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from clinical_meds import cohort, save

from weir.commands.data import node_block
from weir.errors import UserError
from weir.tasks.clinical.preprocessing.describe import describe
from weir.tasks.clinical.settings.dataset import ClinicalDataset


def propose(folder: Path):
    proposal = describe(folder)
    ClinicalDataset.model_validate(proposal.node)
    assert node_block("mine", proposal)
    return proposal


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    cohort(40).write(tmp_path / "meds")
    return tmp_path / "meds"


def test_a_sound_folder(folder):
    proposal = propose(folder)
    assert proposal.usable
    assert list(proposal.node) == ["task", "source", "outcome", "subgroups"]
    assert list(proposal.node["source"]["sha256"]) == [
        "data/0.parquet",
        "data/1.parquet",
        "data/2.parquet",
        "metadata/subject_splits.parquet",
        "tasks/death/0.parquet",
    ]
    assert proposal.node["subgroups"]["sex"] == {"prefix": "SEX//"}
    assert proposal.node["subgroups"]["age"]["code"] == "Age"
    assert any("records: 24 train, 8 validation, 8 test" in note for note in proposal.notes)


def test_what_may_be_repaired_is_proposed(folder):
    table = pq.read_table(folder / "tasks/death/0.parquet")
    save(table[:39], folder / "tasks/death/0.parquet")
    shard = pq.read_table(folder / "data/0.parquet")
    value = shard["numeric_value"].to_pylist()
    value[2] = float("inf")
    shard = shard.set_column(3, "numeric_value", pa.array(value, pa.float32()))
    save(shard, folder / "data/0.parquet")
    proposal = propose(folder)
    assert proposal.usable
    assert proposal.node["unlabelled"] == "drop" and proposal.node["infinite"] == "missing"
    assert any(note.startswith("unlabelled: 1 (") for note in proposal.notes)


def test_splits_elsewhere_are_folds(folder):
    table = pq.read_table(folder / "metadata/subject_splits.parquet")
    save(table, folder / "splits/a.parquet")
    assert "splits" not in propose(folder).node
    save(table, folder / "splits/b.parquet")
    (folder / "metadata/subject_splits.parquet").unlink()
    proposal = propose(folder)
    assert proposal.usable
    assert proposal.node["splits"] == ["splits/a.parquet", "splits/b.parquet"]


def test_what_stands_in_the_way_is_noted(folder):
    (folder / "metadata/subject_splits.parquet").unlink()
    proposal = propose(folder)
    assert not proposal.usable
    assert "not usable yet" in proposal.notes[-1] and "does not exist" in proposal.notes[-1]


def test_no_outcome(folder):
    (folder / "tasks/death/0.parquet").unlink()
    with pytest.raises(UserError, match="there is no outcome"):
        describe(folder)
    with pytest.raises(UserError, match="is no folder"):
        describe(folder / "data/0.parquet")
    with pytest.raises(UserError, match="neither data"):
        describe(folder / "data")


def test_a_file_for_each_patient(tmp_path):
    columns = {"variable": ["A", "B"], "value": [1.0, 2.0], "minute": [0.0, 9.0]}
    for number in range(20, 40):
        save(pa.table(columns), tmp_path / f"p/{number}.parquet")
    split = ["train"] * 18 + ["validation", "test"]
    frame = pd.DataFrame({"ts_id": range(20, 40), "y": [0, 1] * 10, "fold": split})
    frame.to_csv(tmp_path / "labels.csv", index=False)
    proposal = propose(tmp_path)
    assert proposal.usable
    assert proposal.node["patient_files"] == {
        "outcomes": "labels.csv",
        "subject": "ts_id",
        "split": "fold",
    }
    assert proposal.node["outcome"] == "y" and len(proposal.node["source"]["sha256"]) == 21
