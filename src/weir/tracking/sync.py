"""`weir tracking sync`: send what is left in the spool, now."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock, Timeout

from weir.tracking.journal import Ack, owner_lives
from weir.tracking.shipper import LOCK, Shipper


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
