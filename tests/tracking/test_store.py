"""Where runs go, and whether somebody is there."""

import shutil
import sqlite3
from pathlib import Path

import pytest
from alembic import command
from mlflow.store.db import utils

from weir.errors import UserError
from weir.tracking.run import open_stage
from weir.tracking.server import free_port, shown_uri, ui
from weir.tracking.shipper import sync
from weir.tracking.store import connect, reachable, resolve_store, tracking_uri


def test_without_a_server_the_database_is_in_the_repository(root: Path) -> None:
    store = resolve_store(root)
    assert store.database == root / "mlflow.db" and store.artifacts == root / "mlartifacts"
    assert tracking_uri(root) == f"sqlite:///{root}/mlflow.db"


def test_the_environment_names_the_server(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://tracking:5000")
    assert tracking_uri(root) == "http://tracking:5000"
    assert resolve_store(root).artifacts is None
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "sqlite:///runs/other.db")
    assert resolve_store(root).database == root / "runs/other.db"
    assert resolve_store(root).artifacts == root / "runs/mlartifacts"


def test_reachable_tells_a_server_from_none(server, root: Path) -> None:
    assert reachable(server.uri)
    assert not reachable("http://127.0.0.1:9")
    assert not reachable("nonsense")
    assert reachable(f"sqlite:///{root}/mlflow.db")
    assert not reachable(f"sqlite:///{root}/absent/mlflow.db")
    (root / "mlflow.db").write_bytes(b"not a database, but long enough to look like a file" * 20)
    assert not reachable(f"sqlite:///{root}/mlflow.db")


def test_a_database_of_an_older_mlflow_is_brought_up_to_date(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PYTEST_CURRENT_TEST")
    store = resolve_store(root)
    engine = utils.create_sqlalchemy_engine(store.uri)
    utils.InitialBase.metadata.create_all(engine)
    config = utils._get_alembic_config(store.uri)
    newest = utils._get_latest_schema_revision()
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, f"{newest}-1")
    assert revision(root) != newest
    connect(store).create_experiment("works")
    assert revision(root) == newest


def revision(root: Path) -> str:
    with sqlite3.connect(root / "mlflow.db") as connection:
        return connection.execute("SELECT version_num FROM alembic_version").fetchone()[0]


def test_a_password_is_not_shown() -> None:
    assert shown_uri("https://me:secret@host/path") == "https://host/path"
    assert shown_uri("http://host:5000") == "http://host:5000"


def test_a_taken_port_is_replaced(server) -> None:
    assert free_port(server.port) not in (0, server.port)


def test_ui_refuses_to_show_another_servers_runs(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://me:secret@tracking:5000")
    with pytest.raises(UserError, match=r"^http://tracking:5000: .*MLFLOW_TRACKING_URI"):
        ui(root)


def test_a_copied_repository_keeps_its_artifacts_to_itself(tmp_path: Path) -> None:
    def record(root: Path, name: str) -> None:
        (root / "scores.txt").write_text(name)
        with open_stage(
            root, section="stage1", key=name, name=name, seed=0, task="forecast", dataset="sea"
        ) as tracker:
            tracker.log_artifact(root / "scores.txt")
        assert sync(root).waiting == {}

    first, second = tmp_path / "first", tmp_path / "second"
    first.mkdir()
    record(first, "a")
    before = sorted(path for path in (first / "mlartifacts").rglob("*") if path.is_file())
    assert len(before) == 1
    shutil.copytree(first, second)
    record(second, "b")
    after = sorted(path for path in (first / "mlartifacts").rglob("*") if path.is_file())
    assert after == before
    client = connect(resolve_store(second))
    experiment = client.get_experiment_by_name("weir/sea")
    for run in client.search_runs([experiment.experiment_id]):
        (found,) = client.list_artifacts(run.info.run_id)
        assert found.path == "scores.txt"
        assert Path(run.info.artifact_uri.removeprefix("file://")).is_relative_to(second)
