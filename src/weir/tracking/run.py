"""The tracker of a stage's run: every call is one line appended to the run's journal."""

from __future__ import annotations

import getpass
import json
import logging
import os
import shutil
import time
import uuid
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TypeVar

from weir.processes import is_main_process
from weir.settings.base import flatten
from weir.tracking.invocation import current_invocation
from weir.tracking.journal import Ack, Journal, spool_folder
from weir.tracking.lineage import BY_TOKEN, dvc_md5, entity_value
from weir.tracking.meter import Meter
from weir.tracking.start import ensure_shipper
from weir.tracking.store import URI_VARIABLE
from weir.tracking.tracker import NullTracker

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SWITCH = "WEIR_TRACKING"
"""`off` records nothing; `spool` only writes journals, for machines without a network."""
COPY_LIMIT = 20 * 2**20
"""Largest artifact, in bytes, that is copied; of a larger one a pointer is logged."""
CHECK_SECONDS = 5.0
CLOSE_SECONDS = 20.0
ANSWER_SECONDS = 2.0

log = logging.getLogger("weir.tracking")
T = TypeVar("T")


def open_stage(
    root: Path,
    *,
    work: Path | None = None,
    section: str,
    key: str,
    name: str,
    seed: int,
    task: str,
    dataset: str,
    fold: int | None = None,
    tags: Mapping[str, str] | None = None,
    commit: str | None = None,
    headlines: Mapping[str, str] | None = None,
    scored_on: str = "",
) -> JournalTracker | NullTracker:
    """A tracker for one run of a stage, to be used as a context.

    Runs lie in one experiment for each data set, so that a table's columns mean the same in all
    its rows, under the parent run of the invocation that started them.

    Args:
        root: repository whose store has the run.
        work: repository in which the stage works, if that is a copy of `root`.
        key: node, fold and seed, such as `etth1-flow-s0`.
        fold: index of the held-out group, where there are several.
        tags: further facts, such as fingerprint, upstream run ids and DVC md5s.
        commit: commit of the code.
        headlines: scores by which evaluations are sorted, the first that is there, and whether
            "lower" or "higher" values are better.
        scored_on: identity of the data that scores are taken on; only such compete.
    """
    if os.environ.get(SWITCH, "").lower() == "off" or not _first_process():
        return NullTracker()
    facts = {"section": section, "name": name, "seed": seed, "task": task, "dataset": dataset}
    folded = ""
    if fold is not None:
        facts["fold"], folded = fold, f" --fold {fold}"
    source = {
        "mlflow.user": _user(),
        "mlflow.source.type": "LOCAL",
        "mlflow.source.name": f"weir {section} {name} --seed {seed}{folded}",
        "mlflow.source.git.commit": commit or "",
    }
    head = {
        "experiment": f"weir/{dataset}" if dataset else "weir",
        "name": f"{section}/{key}",
        "tags": {k: str(v) for k, v in {**facts, **source, **(tags or {})}.items() if v != ""},
        "uri": os.environ.get(URI_VARIABLE, "").strip(),
        "headlines": dict(headlines or {}),
        "commit": commit or "",
        "scored_on": scored_on,
    }
    return JournalTracker(root, f"{section}-{key}", head, work)


class JournalTracker:
    """Tracker of one run. Used as a context, it ends as FINISHED, FAILED or KILLED."""

    def __init__(
        self, root: Path, label: str, head: Mapping[str, Any], work: Path | None = None
    ) -> None:
        """Open the journal.

        Args:
            root: repository whose store has the run.
            work: repository in which the stage works, if that is a copy of `root`.
            label: readable part of the journal's name.
            head: `experiment`, `name`, `tags` and `uri` of the run, and `headlines`.
        """
        self.root, self.work, self.token = root, work or root, uuid.uuid4().hex
        self._journal: Journal | None = None
        self._folder = spool_folder(root) / f"{label}-{self.token[:12]}"
        self._warned = False
        self._head = head
        self._meter: Meter | None = None
        self._known: str | None = None
        self._checked = time.monotonic()
        self._files = 0
        self._guard(lambda: self._open(head))

    def _open(self, head: Mapping[str, Any]) -> None:
        parent = current_invocation(self.root)
        self._journal = Journal(self._folder)
        self._append("run", token=self.token, parent=parent, **head)
        ensure_shipper(self.root)
        self._meter = Meter(self._measured)

    @property
    def run_id(self) -> str | None:
        """MLflow's id of the run; `token:...` if the server has not given one in a short while.

        MLflow finds the run by the token as well, whenever it arrives: `tags.weir.token = '...'`.
        """
        deadline = time.monotonic() + ANSWER_SECONDS
        while self._known is None and self._journal is not None and _ships():
            ack = self._guard(lambda: Ack.read(self._folder)) or Ack(problem="unreadable")
            self._known = ack.run_id
            if ack.problem or time.monotonic() > deadline:
                break
            if self._known is None:
                time.sleep(0.05)
        return self._known or f"{BY_TOKEN}{self.token}"

    def log_params(self, params: Mapping[str, Any]) -> None:
        """Record settings; nested mappings become dotted names (`stage1.width`)."""
        self._guard(lambda: self._append("params", values=_plain(flatten(params))))

    def log_metrics(self, metrics: Mapping[str, float], step: int = 0) -> None:
        """Record scores of one step; NaN and infinity are kept as they are."""
        self._guard(lambda: self._scores(metrics, step))

    def set_tags(self, tags: Mapping[str, str]) -> None:
        """Record facts by which runs are found."""
        self._guard(lambda: self._append("tags", values=_plain(tags)))

    def log_artifact(self, path: Path, folder: str = "") -> None:
        """Record a file. It is copied at once, or only pointed to if large (weights)."""
        self._guard(lambda: self._copy(Path(path), folder))

    def log_figure(self, figure: Figure, path: str) -> None:
        """Record a matplotlib figure under a path such as `figures/fan.png`."""

        def save() -> None:
            folder, _, name = path.rpartition("/")
            target = self._place(name)
            figure.savefig(target)
            self._artifact(target, folder)

        self._guard(save)

    def log_dataset(self, name: str, digest: str, source: str, role: str = "training") -> None:
        """Record which data was read: its DVC md5 and where it comes from."""
        self._guard(
            lambda: self._append("dataset", name=name, digest=digest, source=source, role=role)
        )

    def propose_champion(
        self,
        dataset: str,
        folder: Path,
        metric: str,
        value: float,
        *,
        higher_is_better: bool = False,
    ) -> None:
        """Propose a model folder as champion of its dataset; it is taken if its score is best.

        Pinned are its content (DVC's md5), the commit, and the data that it was scored on.
        """

        def propose() -> None:
            place = self.work / folder
            self._append(
                "champion",
                dataset=dataset,
                folder=str(folder),
                metric=metric,
                value=repr(float(value)),
                data_digest=self._head.get("scored_on", ""),
                md5=dvc_md5(place) if place.exists() else "",
                commit=self._head.get("commit", ""),
                higher_is_better=higher_is_better,
            )

        self._guard(propose)

    def close(self, status: str = "FINISHED") -> None:
        """End the run and see it off, which takes a fraction of a second if the server answers."""
        if self._journal is not None:
            if self._meter is not None:
                self._guard(self._meter.stop)
            self._guard(lambda: self._append("end", status=status))
            journal, self._journal = self._journal, None
            self._guard(journal.close)
            self._guard(self._see_off)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        killed = kind is not None and not issubclass(kind, Exception)
        self.close("KILLED" if killed else "FAILED" if kind else "FINISHED")

    def _see_off(self) -> None:
        deadline = time.monotonic() + CLOSE_SECONDS
        looked = 0.0
        while _ships() and self._folder.exists():
            ack = Ack.read(self._folder)
            self._known = ack.run_id or self._known
            if ack.problem:
                return self._warn(ack.problem)
            if time.monotonic() > deadline:
                return self._warn("the server is slow")
            if time.monotonic() - looked > 1.0:
                looked = time.monotonic()
                ensure_shipper(self.root)
            time.sleep(0.05)

    def _scores(self, metrics: Mapping[str, float], step: int) -> None:
        if self._journal is None:
            return
        values = {name: float(value) for name, value in metrics.items()}
        self._journal.append_later(
            "metrics", time=int(time.time() * 1000), step=int(step), values=values
        )
        if time.monotonic() - self._checked > CHECK_SECONDS:
            self._checked = time.monotonic()
            ensure_shipper(self.root)
            if problem := Ack.read(self._folder).problem:
                self._warn(problem)

    def _measured(self, values: Mapping[str, float], step: int) -> None:
        """Take a measurement of the machine, in the thread of the meter."""
        journal = self._journal
        if journal is not None:
            journal.append_later(
                "metrics", time=int(time.time() * 1000), step=step, values=dict(values)
            )

    def _append(self, kind: str, **fields: Any) -> None:
        if self._journal is not None:
            self._journal.append(kind, time=int(time.time() * 1000), **fields)

    def _copy(self, path: Path, folder: str) -> None:
        size = path.stat().st_size
        if size > COPY_LIMIT:
            target = self._place(f"{path.name}.pointer.json")
            target.write_text(json.dumps({"path": str(path.resolve()), "bytes": size}) + "\n")
        else:
            target = self._place(path.name)
            shutil.copyfile(path, target)
        self._artifact(target, folder)

    def _place(self, name: str) -> Path:
        self._files += 1
        target = self._folder / "files" / str(self._files) / name
        target.parent.mkdir(parents=True)
        return target

    def _artifact(self, target: Path, folder: str) -> None:
        file = target.relative_to(self._folder).as_posix()
        self._append("artifact", file=file, folder=folder)

    def _guard(self, action: Callable[[], T]) -> T | None:
        """Tracking never ends a stage: whatever fails here is said once."""
        try:
            return action()
        except Exception as error:
            self._warn(f"{type(error).__name__}: {error}")
            return None

    def _warn(self, problem: str) -> None:
        if not self._warned:
            self._warned = True
            log.warning(
                "tracking: %s; this run is kept in %s, `weir tracking sync` sends it",
                problem.splitlines()[0] if problem else "failed",
                self._folder,
            )


def _ships() -> bool:
    return os.environ.get(SWITCH, "").lower() != "spool"


def _first_process() -> bool:
    """Whether this is the process of a multi-GPU run that reports for all."""
    return os.environ.get("RANK", "0") == "0" and is_main_process()


def _plain(values: Mapping[str, Any]) -> dict[str, Any]:
    """Values that JSON can hold; others, such as paths and non-finite numbers, as text."""
    return {
        name: value if isinstance(value, (str, bool, int, type(None))) else entity_value(value)
        for name, value in values.items()
    }


def _user() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):
        return "unknown"
