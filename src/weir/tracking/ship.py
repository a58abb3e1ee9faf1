"""Sending one journal to MLflow, so that sending any part of it twice changes nothing.

Runs are found again by the tag `weir.token`; metrics are the same record if name, step, time and
value are; parameters, tags, data sets and files are overwritten by themselves.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from weir.tracking.invocation import invocation_folder
from weir.tracking.journal import EVENTS, Ack, first_event, read_events
from weir.tracking.lineage import BY_TOKEN, entity_key, entity_value
from weir.tracking.registry import register_champion
from weir.tracking.views import update_view

if TYPE_CHECKING:
    from mlflow.tracking import MlflowClient

    from weir.tracking.store import Store


TOKEN, INVOCATION = "weir.token", "weir.invocation"
METRICS_PER_BATCH, PARAMS_PER_BATCH = 1000, 100
REFUSED = ("INVALID_PARAMETER_VALUE", "BAD_REQUEST", "RESOURCE_ALREADY_EXISTS")
"""Answers that say the request itself is at fault: to repeat it is useless."""


class Shipment:
    """The unsent rest of one journal, on its way to one store."""

    def __init__(self, root: Path, folder: Path, store: Store, client: MlflowClient) -> None:
        self.root, self.folder, self.store, self.client = root, folder, store, client
        self.name = store.name(root)
        self.ack = Ack.read(folder)
        if self.ack.uri != self.name:
            self.ack = Ack(uri=self.name)
        self._handlers: dict[str, Callable[[dict[str, Any]], None]] = {
            "run": self._open,
            "artifact": self._artifact,
            "dataset": self._dataset,
            "champion": self._champion,
            "end": self._end,
        }

    def send(self) -> bool:
        """Send what is new.

        Returns:
            Whether the run has ended and all of it was confirmed.

        Raises:
            MlflowException, OSError: the server does not answer; what it confirmed is on record.
        """
        try:
            return self._send()
        except Exception as error:
            if getattr(error, "error_code", "") != "RESOURCE_DOES_NOT_EXIST" or not self.ack.offset:
                raise
        # The server has lost the run (its database was replaced): tell it everything again.
        self.ack = Ack(uri=self.name)
        return self._send()

    def _send(self) -> bool:
        if not (self.folder / EVENTS).exists():
            return False
        batch = _Batch()
        ended = False
        for event, offset in read_events(self.folder, self.ack.offset):
            kind = event["kind"] if event else "damaged"
            if event and kind in ("metrics", "params", "tags"):
                if not batch.fits(event):
                    self._flush(batch)
                    batch = _Batch()
                batch.add(event, offset)
                continue
            self._flush(batch)
            batch = _Batch()
            if event and kind in self._handlers:
                self._attempt(lambda event=event, kind=kind: self._handlers[kind](event))
            elif kind != "invocation":
                self.ack.rejected += 1
            ended = ended or kind == "end"
            self._confirm(offset)
        self._flush(batch)
        return ended

    def _confirm(self, offset: int) -> None:
        self.ack.offset, self.ack.problem = offset, ""
        self.ack.write(self.folder)

    def _flush(self, batch: _Batch) -> None:
        """Send a batch; if the server refuses it, find the events that are at fault."""
        if not batch.events:
            return
        if not self._attempt(lambda: self._log(batch.events), count=len(batch.events) == 1):
            for event in batch.events if len(batch.events) > 1 else []:
                self._attempt(lambda event=event: self._log([event]))
        self._confirm(batch.offset)

    def _attempt(self, action: Callable[[], None], *, count: bool = True) -> bool:
        """Do it; False if the server refuses it for good."""
        try:
            action()
        except Exception as error:
            if getattr(error, "error_code", "") not in REFUSED:
                raise
            if count:
                self.ack.rejected += 1
                note = f"{self.ack.rejected}; last: {str(error).splitlines()[0][:300]}"
                if self.ack.run_id:
                    self.client.set_tag(self.ack.run_id, "weir.rejected", note)
            return False
        return True

    def _log(self, events: list[dict[str, Any]]) -> None:
        from mlflow.entities import Metric, Param, RunTag

        metrics, params, tags = [], [], []
        for event in events:
            for name, value in event["values"].items():
                key = entity_key(name)
                if event["kind"] == "metrics":
                    metrics.append(Metric(key, float(value), event["time"], event["step"]))
                else:
                    kind, into = (Param, params) if event["kind"] == "params" else (RunTag, tags)
                    into.append(kind(key, entity_value(value)))
        for start in range(0, len(params), PARAMS_PER_BATCH):
            self.client.log_batch(self._run(), params=params[start : start + PARAMS_PER_BATCH])
        for start in range(0, len(tags), PARAMS_PER_BATCH):
            self.client.log_batch(self._run(), tags=tags[start : start + PARAMS_PER_BATCH])
        for start in range(0, len(metrics), METRICS_PER_BATCH):
            self.client.log_batch(self._run(), metrics=metrics[start : start + METRICS_PER_BATCH])

    def _run(self) -> str:
        if self.ack.run_id is None:
            raise RuntimeError(f"{self.folder / EVENTS}: does not begin with a run")
        return self.ack.run_id

    def _open(self, event: dict[str, Any]) -> None:
        if self.ack.run_id is not None:
            return
        experiment = experiment_id(self.client, self.store, event["experiment"])
        tags = {
            entity_key(key): entity_value(self._run_named(value, experiment))
            for key, value in event["tags"].items()
        }
        tags[TOKEN] = event["token"]
        if event.get("parent"):
            tags["mlflow.parentRunId"] = self._parent(event["parent"], experiment)
            tags[INVOCATION] = event["parent"]
        self.ack.run_id = _find(self.client, experiment, TOKEN, event["token"])
        if self.ack.run_id is None:
            run = self.client.create_run(experiment, event["time"], tags, event["name"])
            self.ack.run_id = run.info.run_id

    def _run_named(self, value: Any, experiment: str) -> Any:
        """MLflow's id for a run that was recorded by its token, if it is there; else as it is."""
        if not str(value).startswith(BY_TOKEN):
            return value
        token = str(value).removeprefix(BY_TOKEN)
        return _find(self.client, experiment, TOKEN, token) or value

    def _parent(self, token: str, experiment: str) -> str:
        """Id of the invocation's run in an experiment, which is made if this child is the first."""
        folder = invocation_folder(self.root, token)
        ack = Ack.read(folder)
        if ack.uri != self.name:
            ack = Ack(uri=self.name)
        if experiment in ack.parents:
            return ack.parents[experiment]
        parent = _find(self.client, experiment, INVOCATION, token, "section = 'invocation'")
        if parent is None:
            head = first_event(folder) or {"name": "invocation", "tags": {}, "time": None}
            tags = {**head["tags"], INVOCATION: token, "section": "invocation"}
            run = self.client.create_run(experiment, head["time"], tags, head["name"])
            parent = run.info.run_id
        ack.parents[experiment] = parent
        if folder.exists():
            ack.write(folder)
        return parent

    def _artifact(self, event: dict[str, Any]) -> None:
        path = self.folder / event["file"]
        if path.exists():
            self.client.log_artifact(self._run(), str(path), event["folder"] or None)

    def _dataset(self, event: dict[str, Any]) -> None:
        from mlflow.entities import Dataset, DatasetInput, InputTag

        source = json.dumps({"uri": event["source"]})
        data = Dataset(event["name"], event["digest"][:36], "local", source)
        tags = [InputTag("mlflow.data.context", event["role"])]
        self.client.log_inputs(self._run(), [DatasetInput(data, tags)])

    def _champion(self, event: dict[str, Any]) -> None:
        register_champion(
            self.client,
            event["dataset"],
            self._run(),
            event["folder"],
            event["metric"],
            float(event["value"]),
            data_digest=event["data_digest"],
            md5=event.get("md5", ""),
            commit=event.get("commit", ""),
            higher_is_better=event["higher_is_better"],
        )

    def _end(self, event: dict[str, Any]) -> None:
        for run in [self.ack.run_id] if self.ack.run_id else self.ack.parents.values():
            self.client.set_terminated(run, event["status"], event["time"])
        head = first_event(self.folder) or {}
        if head.get("tags", {}).get("section") == "evaluate" and self.ack.run_id:
            experiment = self.client.get_run(self.ack.run_id).info.experiment_id
            headlines = head.get("headlines", {})
            self._attempt(lambda: update_view(self.client, experiment, headlines))
        if event["status"] != "FINISHED" and head.get("parent"):
            folder = invocation_folder(self.root, head["parent"])
            if folder.exists():
                ack = Ack.read(folder)
                ack.failed = True
                ack.write(folder)


class _Batch:
    """Consecutive events that fit into one request."""

    def __init__(self) -> None:
        self.events: list[dict[str, Any]] = []
        self.offset = 0
        self._values = 0

    def fits(self, event: dict[str, Any]) -> bool:
        return not self.events or self._values + len(event["values"]) <= METRICS_PER_BATCH

    def add(self, event: dict[str, Any], offset: int) -> None:
        self.events.append(event)
        self._values += len(event["values"])
        self.offset = offset


def experiment_id(client: MlflowClient, store: Store, name: str) -> str:
    """Id of an experiment, which is made, or restored if someone deleted it."""
    from mlflow.exceptions import MlflowException

    found = client.get_experiment_by_name(name)
    if found is None:
        location = (store.artifacts / name).as_uri() if store.artifacts else None
        try:
            return client.create_experiment(name, artifact_location=location)
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise
            found = client.get_experiment_by_name(name)
            assert found is not None
    if found.lifecycle_stage == "deleted":
        client.restore_experiment(found.experiment_id)
    return found.experiment_id


def _find(
    client: MlflowClient, experiment: str, tag: str, value: str, also: str = ""
) -> str | None:
    """Id of the run that carries a tag."""
    query = f"tags.`{tag}` = '{value}'"
    if also:
        name, _, rest = also.partition(" ")
        query += f" and tags.`{name}` {rest}"
    found = client.search_runs([experiment], query, max_results=1)
    return found[0].info.run_id if found else None
