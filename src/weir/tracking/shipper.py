"""The shipper: one process per repository that sends the journals of all its runs to MLflow.

Started by the first stage that needs it, it outlives that stage for a few seconds, so the next one
does not pay for importing MLflow again, and as long as stages or their engine run. It ends a run
whose process was killed, and keeps what the server does not take for the next shipper.

    python -m weir.tracking.shipper <root>
"""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from filelock import FileLock, Timeout

from weir.tracking.invocation import invocation_lives
from weir.tracking.journal import (
    EVENTS,
    Ack,
    Journal,
    first_event,
    owner_lives,
    read_events,
    spool_folder,
)
from weir.tracking.start import LOCK
from weir.tracking.store import Store, connect, resolve_store

if TYPE_CHECKING:
    from mlflow.tracking import MlflowClient


POLL_SECONDS = 0.2
BATCH_SECONDS = 2.0
LINGER_SECONDS = 5.0
LONGEST_RETRY = 30.0

log = logging.getLogger("weir.tracking.shipper")


@dataclass
class _Outage:
    """A store that did not answer."""

    problem: str
    retry_at: float
    delay: float


class Shipper:
    """Passes over the spool, sending what is due."""

    def __init__(self, root: Path, uri: str | None = None) -> None:
        """Look after the spool of `root`, sending to `uri`, else to where each run belongs."""
        self.root, self.uri = root, uri
        self.spool = spool_folder(root)
        self.sent: list[str] = []
        self._clients: dict[str, MlflowClient] = {}
        self._outages: dict[str, _Outage] = {}
        self._last_sent: dict[Path, float] = {}
        self._tried: dict[Path, float] = {}
        self._ended: set[Path] = set()

    def journals(self) -> list[Path]:
        """Folders of the journals, invocations last, and those that were tried least lately first.

        So a journal that the server chokes on does not keep the others from being tried.
        """
        folders = [path.parent for path in self.spool.glob(f"*/{EVENTS}")]
        return sorted(
            folders,
            key=lambda folder: (
                folder.name.startswith("invocation-"),
                self._tried.get(folder, 0.0),
                folder.name,
            ),
        )

    def step(self, *, at_once: bool = False) -> bool:
        """One pass.

        Args:
            at_once: send even if a batch or a retry is not due yet.

        Returns:
            Whether something was sent or may yet come: a stage or its engine is alive.
        """
        busy = False
        open_invocations = set()
        for folder in self.journals():
            # A folder may vanish under us (a test's scratch folder); then it is not our concern.
            with contextlib.suppress(FileNotFoundError):
                if folder.name.startswith("invocation-"):
                    lives = self._tend_invocation(folder, folder.name[11:] in open_invocations)
                else:
                    lives = owner_lives(folder)
                    head = first_event(folder)
                    if not lives and folder not in self._ended:
                        _end_if_killed(folder)
                        self._ended.add(folder)
                    open_invocations.add(head.get("parent") if head else None)
                busy |= lives
                if at_once or self._due(folder, lives):
                    busy |= self._ship(folder, at_once)
        return busy

    def _due(self, folder: Path, lives: bool) -> bool:
        offset = Ack.read(folder).offset
        if (folder / EVENTS).stat().st_size == offset:
            return False
        waited = time.monotonic() - self._last_sent.get(folder, -1e9)
        return not lives or offset == 0 or waited >= BATCH_SECONDS

    def _ship(self, folder: Path, at_once: bool) -> bool:
        """Send one journal; whether anything of it was confirmed."""
        from weir.tracking.ship import Shipment

        store = self._store(folder)
        now = time.monotonic()
        outage = self._outages.get(store.uri)
        if outage and now < outage.retry_at and not at_once:
            _note(folder, outage.problem)
            return False
        before = Ack.read(folder).offset
        self._tried[folder] = now
        try:
            client = self._clients.get(store.uri) or connect(store)
            self._clients[store.uri] = client
            complete = Shipment(self.root, folder, store, client).send()
        except FileNotFoundError:
            raise
        except Exception as error:
            if not _is_outage(error):
                log.exception("%s", folder.name)
                _note(folder, f"{type(error).__name__}: {error}")
                return Ack.read(folder).offset > before
            delay = min(2 * outage.delay, LONGEST_RETRY) if outage else BATCH_SECONDS
            problem = _problem(store, error)
            self._outages[store.uri] = _Outage(problem, time.monotonic() + delay, delay)
            _note(folder, problem)
            log.info("%s: %s", folder.name, problem)
            return Ack.read(folder).offset > before
        self._outages.pop(store.uri, None)
        self._last_sent[folder] = time.monotonic()
        if complete:
            shutil.rmtree(folder, ignore_errors=True)
            self.sent.append(folder.name)
        return True

    def _store(self, folder: Path) -> Store:
        head = first_event(folder) or {}
        return resolve_store(self.root, self.uri or head.get("uri") or Ack.read(folder).uri or None)

    def _tend_invocation(self, folder: Path, has_children: bool) -> bool:
        """End an invocation whose process is gone; whether it may still start stages."""
        ended = any(event and event["kind"] == "end" for event, _ in read_events(folder, 0))
        if not ended:
            lives = invocation_lives(folder)
            if lives is not False or has_children:
                return bool(lives)
            status = "FAILED" if Ack.read(folder).failed else "FINISHED"
            with contextlib.closing(Journal(folder, owned=False)) as journal:
                journal.append("end", status=status, time=int(time.time() * 1000))
        if not Ack.read(folder).parents and not has_children:
            shutil.rmtree(folder, ignore_errors=True)
        return False


@dataclass(frozen=True)
class SyncReport:
    """What a synchronisation did.

    Attributes:
        sent: journals that are now wholly on the server.
        running: journals of runs that still go on.
        waiting: journals that could not be sent, each with the reason.
    """

    sent: list[str]
    running: list[str]
    waiting: dict[str, str]

    def __str__(self) -> str:
        lines = [f"{len(self.sent)} runs sent, {len(self.running)} still going on"]
        return "\n".join(lines + [f"{name}: {why}" for name, why in self.waiting.items()])


def sync(root: Path, uri: str | None = None, patience: float = 30.0) -> SyncReport:
    """Send all journals of a repository.

    Args:
        uri: server to send to, instead of the one that each run was meant for.
        patience: longest wait, in seconds, for a shipper that is already at work.
    """
    shipper = Shipper(root, uri)
    if not shipper.spool.exists():
        return SyncReport([], [], {})
    lock = FileLock(shipper.spool / LOCK)
    before = {folder.name for folder in _runs(shipper)}
    deadline = time.monotonic() + patience
    while before and time.monotonic() < deadline:
        try:
            with lock.acquire(timeout=0.2):
                shipper.step(at_once=True)
                shipper.step(at_once=True)  # an invocation ends after its last child
            break
        except Timeout:
            if not _runs(shipper):
                break
    left = _runs(shipper)
    running = [folder.name for folder in left if owner_lives(folder)]
    waiting = {
        folder.name: Ack.read(folder).problem or "another process is sending it"
        for folder in left
        if folder.name not in running
    }
    return SyncReport(sorted(before - {folder.name for folder in left}), running, waiting)


def _runs(shipper: Shipper) -> list[Path]:
    return [f for f in shipper.journals() if not f.name.startswith("invocation-")]


def main(root: Path) -> None:
    """Ship until nothing has happened for a while."""
    shipper = Shipper(root)
    try:
        with FileLock(shipper.spool / LOCK).acquire(timeout=1):
            _ship_until_quiet(shipper)
    except Timeout:
        log.info("another shipper is at work")


def _ship_until_quiet(shipper: Shipper) -> None:
    last_busy = time.monotonic()
    while time.monotonic() - last_busy < LINGER_SECONDS and shipper.spool.exists():
        if shipper.step():
            last_busy = time.monotonic()
        time.sleep(POLL_SECONDS)


def _end_if_killed(folder: Path) -> None:
    """Close the journal of a process that died without a word."""
    events = [event for event, _ in read_events(folder, 0) if event]
    if any(event["kind"] == "end" for event in events):
        return
    moment = int((folder / EVENTS).stat().st_mtime * 1000)
    with (folder / EVENTS).open("rb") as file:
        torn = (
            file.seek(0, os.SEEK_END) > 0 and (file.seek(-1, os.SEEK_END), file.read())[1] != b"\n"
        )
    if torn:
        with (folder / EVENTS).open("ab") as file:
            file.write(b"\n")
    with contextlib.closing(Journal(folder, owned=False)) as journal:
        journal.append("end", status="KILLED", time=moment)


def _is_outage(error: Exception) -> bool:
    """Whether a failure is the store's, and not that of one journal."""
    from mlflow.exceptions import MlflowException

    return isinstance(error, (MlflowException, OSError))


def _note(folder: Path, problem: str) -> None:
    with contextlib.suppress(FileNotFoundError):
        ack = Ack.read(folder)
        if ack.problem != problem:
            ack.problem = problem
            ack.write(folder)


def _problem(store: Store, error: Exception) -> str:
    """One line on why a store did not take what was sent."""
    from weir.tracking.server import shown_uri

    cause: BaseException = error
    while cause.__cause__ or cause.__context__:
        cause = cause.__cause__ or cause.__context__  # type: ignore[assignment]
    text = str(cause).strip().splitlines() or [type(cause).__name__]
    return f"{shown_uri(store.uri)}: {text[-1][:200]}"


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(process)d %(message)s")
    main(Path(sys.argv[1]))
