"""What a stage records arrives on a real server: all of it, once, whatever happens on the way."""

import json
import math
import shutil
from collections import Counter
from pathlib import Path

import pytest
from mlflow.entities import Run
from mlflow.tracking import MlflowClient

from weir.tracking.journal import EVENTS, Ack, spool_folder
from weir.tracking.run import JournalTracker, open_stage
from weir.tracking.shipper import Shipper, sync

STEPS = 40


@pytest.fixture
def client(server, root: Path, monkeypatch: pytest.MonkeyPatch) -> MlflowClient:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", server.uri)
    return MlflowClient(tracking_uri=server.uri)


def start(
    root: Path, dataset: str, key: str = "flow-s0", section: str = "stage2"
) -> JournalTracker:
    tracker = open_stage(
        root, section=section, key=key, name="flow", seed=0, task="forecast", dataset=dataset
    )
    assert isinstance(tracker, JournalTracker)
    return tracker


def runs(client: MlflowClient, dataset: str) -> list[Run]:
    experiment = client.get_experiment_by_name(f"weir/{dataset}")
    return client.search_runs([experiment.experiment_id]) if experiment else []


def steps(client: MlflowClient, run: Run, metric: str = "loss") -> Counter:
    return Counter(m.step for m in client.get_metric_history(run.info.run_id, metric))


def scores(run: Run) -> dict[str, float]:
    """A run's metrics without the measurements of the machine."""
    return {k: v for k, v in run.data.metrics.items() if not k.startswith("system/")}


def test_all_kinds_of_records_arrive(client: MlflowClient, root: Path) -> None:
    from matplotlib.figure import Figure

    figure = Figure()
    figure.add_subplot().plot([1, 2])
    (root / "table.csv").write_text("a,b\n1,2\n")
    with start(root, "kinds") as tracker:
        tracker.log_params({"stage1": {"width": 64}, "text": "x" * 7000})
        tracker.log_params({f"many{i}": i for i in range(250)})
        tracker.log_metrics({"loss": 0.5, "coverage@90%": 0.9}, step=3)
        tracker.log_figure(figure, "figures/fan.png")
        tracker.log_artifact(root / "table.csv", "tables")
        tracker.log_dataset("kinds", "d41d8cd98f00b204e9800998ecf8427e.dir", "data/processed/kinds")
        tracker.set_tags({"fingerprint": "abc"})
    assert sync(root).waiting == {}
    (run,) = runs(client, "kinds")
    assert run.info.status == "FINISHED" and run.info.run_name == "stage2/flow-s0"
    assert run.data.params["stage1.width"] == "64" and run.data.params["many249"] == "249"
    assert len(run.data.params) == 252 and "cut: 7000" in run.data.params["text"]
    assert scores(run) == {"loss": 0.5, "coverage_90_": 0.9}
    assert run.data.metrics["system/process_memory_megabytes"] > 10
    assert run.data.tags["fingerprint"] == "abc" and run.data.tags["section"] == "stage2"
    assert [d.dataset.digest for d in run.inputs.dataset_inputs] == [
        "d41d8cd98f00b204e9800998ecf8427e.dir"
    ]
    paths = [
        a.path for f in ("figures", "tables") for a in client.list_artifacts(run.info.run_id, f)
    ]
    assert paths == ["figures/fan.png", "tables/table.csv"]
    assert not list(spool_folder(root).glob("*/"))


def test_numbers_that_are_not_finite_are_logged_as_they_are(
    client: MlflowClient, root: Path
) -> None:
    with start(root, "nan") as tracker:
        tracker.log_metrics({"loss": math.nan, "norm": math.inf}, step=1)
    sync(root)
    (run,) = runs(client, "nan")
    assert math.isnan(run.data.metrics["loss"])
    assert run.data.metrics["norm"] > 1e308


def test_a_server_killed_during_a_run_loses_and_doubles_nothing(
    server, client: MlflowClient, root: Path
) -> None:
    shipper = Shipper(root)
    with start(root, "killed") as tracker:
        for step in range(STEPS):
            if step == STEPS // 2:
                shipper.step(at_once=True)
                server.kill()
            tracker.log_metrics({"loss": 1.0 / (step + 1)}, step=step)
            if step % 10 == 5:
                shipper.step(at_once=True)
    report = sync(root)
    (reason,) = report.waiting.values()
    assert report.sent == [] and server.uri in reason and "\n" not in reason
    server.start()
    assert len(sync(root).sent) == 1
    (run,) = runs(client, "killed")
    assert run.info.status == "FINISHED"
    assert steps(client, run) == Counter(range(STEPS))


def test_an_answer_that_never_came_makes_no_second_record(client: MlflowClient, root: Path) -> None:
    """The server did its work, and the connection broke before it could say so."""
    with start(root, "twice") as tracker:
        tracker.log_params({"width": 1})
        for step in range(STEPS):
            tracker.log_metrics({"loss": float(step)}, step=step)
        tracker.log_dataset("twice", "abc", "data")
    (folder,) = spool_folder(root).glob("stage2-*")
    kept = root / "kept"
    shutil.copytree(folder, kept)
    for _repeat in range(2):
        sync(root)
        shutil.copytree(kept, folder)
    sync(root)
    (run,) = runs(client, "twice")
    assert steps(client, run) == Counter(range(STEPS))
    assert len(run.inputs.dataset_inputs) == 1


def test_a_refused_event_is_noted_and_the_others_arrive(client: MlflowClient, root: Path) -> None:
    with start(root, "refused") as tracker:
        tracker.log_params({"width": 1})
        tracker.log_params({"width": 2})
        tracker.log_metrics({"loss": 1.0}, step=0)
    assert sync(root).waiting == {}
    (run,) = runs(client, "refused")
    assert run.data.params == {"width": "1"} and scores(run) == {"loss": 1.0}
    assert run.data.tags["weir.rejected"].startswith("1; last: ")


def test_a_run_that_the_server_lost_is_told_again(client: MlflowClient, root: Path) -> None:
    tracker = start(root, "lost")
    tracker.log_metrics({"loss": 1.0}, step=0)
    Shipper(root).step(at_once=True)
    (folder,) = spool_folder(root).glob("stage2-*")
    ack = Ack.read(folder)
    ack.run_id = "0" * 32  # as if the database had been replaced by an empty one
    ack.write(folder)
    client.delete_run(runs(client, "lost")[0].info.run_id)
    tracker.log_metrics({"loss": 2.0}, step=1)
    tracker.close()
    assert sync(root).waiting == {}
    (run,) = runs(client, "lost")
    assert steps(client, run) == Counter([0, 1])


def test_a_damaged_line_costs_that_line_only(client: MlflowClient, root: Path) -> None:
    tracker = start(root, "damaged")
    tracker.log_metrics({"loss": 1.0}, step=0)
    (folder,) = spool_folder(root).glob("stage2-*")
    with (folder / EVENTS).open("ab") as file:
        file.write(b'{"kind":"metr\n')
    tracker.log_metrics({"loss": 2.0}, step=1)
    tracker.close()
    assert sync(root).waiting == {}
    (run,) = runs(client, "damaged")
    assert steps(client, run) == Counter([0, 1])


def test_a_journal_without_its_head_stops_no_other(client: MlflowClient, root: Path) -> None:
    for key in ("a-s0", "b-s0"):
        with start(root, "headless", key) as tracker:
            tracker.log_metrics({"loss": 1.0})
    (folder,) = spool_folder(root).glob("stage2-a-*")
    text = (folder / EVENTS).read_text()
    (folder / EVENTS).write_text(text[10:])
    report = sync(root)
    (sent,) = report.sent
    assert sent.startswith("stage2-b-")
    assert list(report.waiting) == [folder.name] and "does not begin" in report.waiting[folder.name]


def test_a_failed_stage_is_marked_failed(client: MlflowClient, root: Path) -> None:
    with pytest.raises(ZeroDivisionError), start(root, "failed"):
        _ = 1 / 0
    with pytest.raises(KeyboardInterrupt), start(root, "failed"):
        raise KeyboardInterrupt
    sync(root)
    assert sorted(run.info.status for run in runs(client, "failed")) == ["FAILED", "KILLED"]


def test_a_large_file_is_pointed_to(
    client: MlflowClient, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("weir.tracking.run.COPY_LIMIT", 10)
    (root / "model.safetensors").write_bytes(b"0" * 11)
    with start(root, "large") as tracker:
        tracker.log_artifact(root / "model.safetensors", "model")
    sync(root)
    (run,) = runs(client, "large")
    (artifact,) = client.list_artifacts(run.info.run_id, "model")
    assert artifact.path == "model/model.safetensors.pointer.json"
    pointer = json.loads(
        Path(client.download_artifacts(run.info.run_id, artifact.path, str(root))).read_text()
    )
    assert pointer == {"path": str(root / "model.safetensors"), "bytes": 11}


def test_a_deleted_experiment_is_restored(client: MlflowClient, root: Path) -> None:
    start(root, "deleted").close()
    sync(root)
    client.delete_experiment(client.get_experiment_by_name("weir/deleted").experiment_id)
    start(root, "deleted", "flow-s1").close()
    assert sync(root).waiting == {}
    assert client.get_experiment_by_name("weir/deleted").lifecycle_stage == "active"


def test_a_spool_can_be_sent_to_another_server(
    server, client: MlflowClient, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    start(root, "moved").close()
    assert sync(root).waiting
    assert sync(root, server.uri).waiting == {}
    assert len(runs(client, "moved")) == 1
