"""Stages are children of the invocation that started them."""

import subprocess
import sys
from pathlib import Path

import pytest
from mlflow.entities import Run
from mlflow.tracking import MlflowClient

from weir.tracking.invocation import (
    VARIABLE,
    close_invocation,
    current_invocation,
    invocation_folder,
    open_invocation,
)
from weir.tracking.run import open_stage
from weir.tracking.shipper import Shipper


@pytest.fixture
def client(server, root: Path, monkeypatch: pytest.MonkeyPatch) -> MlflowClient:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", server.uri)
    return MlflowClient(tracking_uri=server.uri)


def run_stage(root: Path, dataset: str, *, fails: bool = False) -> None:
    tracker = open_stage(
        root, section="stage1", key="n-s0", name="n", seed=0, task="forecast", dataset=dataset
    )
    tracker.close("FAILED" if fails else "FINISHED")


def ship(root: Path) -> None:
    shipper = Shipper(root)
    shipper.step(at_once=True)
    shipper.step(at_once=True)


def family(client: MlflowClient, dataset: str) -> tuple[Run, list[Run]]:
    """The parent in an experiment, and its children."""
    experiment = client.get_experiment_by_name(f"weir/{dataset}").experiment_id
    (parent,) = client.search_runs([experiment], "tags.section = 'invocation'")
    query = f"tags.`mlflow.parentRunId` = '{parent.info.run_id}'"
    return parent, client.search_runs([experiment], query)


def test_each_experiment_gets_one_parent(
    client: MlflowClient, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    token = open_invocation(root, "weir run", {"commit": "abc"})
    monkeypatch.setenv(VARIABLE, token)
    for dataset in ("left", "left", "right"):
        run_stage(root, dataset)
    ship(root)
    parent, children = family(client, "left")
    assert parent.info.status == "RUNNING" and len(children) == 2
    close_invocation(root, token)
    ship(root)
    for dataset, number in (("left", 2), ("right", 1)):
        parent, children = family(client, dataset)
        assert parent.info.run_name == "weir run" and parent.data.tags["commit"] == "abc"
        assert parent.info.status == "FINISHED" and len(children) == number
    assert not invocation_folder(root, token).exists()


def test_a_late_child_finds_its_finished_parent(
    client: MlflowClient, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    token = open_invocation(root, "weir run")
    monkeypatch.setenv(VARIABLE, token)
    run_stage(root, "late")
    close_invocation(root, token, "FAILED")
    ship(root)
    run_stage(root, "late")
    ship(root)
    parent, children = family(client, "late")
    assert parent.info.status == "FAILED" and len(children) == 2


def test_an_invocation_without_work_leaves_nothing(client: MlflowClient, root: Path) -> None:
    before = len(client.search_experiments())
    close_invocation(root, open_invocation(root, "weir run"))
    ship(root)
    assert list((root / ".weir" / "spool").iterdir()) == []
    assert len(client.search_experiments()) == before


ENGINE = """
import subprocess, sys
sys.exit(subprocess.run([sys.executable, "-c", sys.argv[1], sys.argv[2]]).returncode)
"""
STAGE = """
import sys
from pathlib import Path
from weir.tracking.run import open_stage
open_stage(Path(sys.argv[1]), section="stage1", key="n-s0", name="n", seed=0, task="forecast",
           dataset="engine").close("FAILED")
"""


def test_an_engine_above_is_the_parent(client: MlflowClient, root: Path) -> None:
    """`dvc repro` knows nothing of Weir, so the process tree tells; its end is the run's end."""
    engine = root / "dvc"
    engine.write_text(ENGINE)
    command = [sys.executable, str(engine), STAGE, str(root)]
    for _ in range(2):
        subprocess.run(command, check=True, timeout=60)
    ship(root)
    experiment = client.get_experiment_by_name("weir/engine").experiment_id
    parents = client.search_runs([experiment], "tags.section = 'invocation'")
    assert [run.info.status for run in parents] == ["FAILED", "FAILED"]
    assert all(run.info.run_name.startswith("dvc ") for run in parents)
    assert len(client.search_runs([experiment], "tags.section = 'stage1'")) == 2


def test_by_hand_there_is_no_parent(root: Path) -> None:
    code = "import sys; from pathlib import Path; from weir.tracking.invocation import *; "
    code += "print(current_invocation(Path(sys.argv[1])))"
    done = subprocess.run(
        [sys.executable, "-c", code, str(root)], capture_output=True, text=True, check=True
    )
    assert done.stdout == "None\n"


def test_the_environment_names_the_invocation(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, "abc")
    assert current_invocation(root) == "abc"
    monkeypatch.setenv(VARIABLE, "../x'; or")
    assert (current_invocation(root) or "").isalnum()
