"""Checks of DVC in `weir doctor`: its cache, its remotes and its locks, at home and at a site."""

from __future__ import annotations

import fcntl
import grp
import json
import os
import pwd
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

from weir.programs import program

if TYPE_CHECKING:
    from dvc.repo import Repo

NETWORK = {"nfs", "nfs4", "lustre", "gpfs", "beegfs", "ceph", "cifs", "smb3", "afs", "fuse.sshfs"}
"""File systems of which a lock may not hold from one node to another."""
ENTRIES = 100_000
"""Most files of a shared folder that are looked at."""
ANSWER_SECONDS = 10.0
HELD_SECONDS = 600.0
LINK_LOCK_DAYS = 365
"""How far ahead DVC dates a lock made of hard links, so that it never expires."""


@dataclass(frozen=True)
class Finding:
    """One line of the diagnosis.

    Attributes:
        state: `ok`, `note` (works without) or `bad` (fix it).
        text: what was found, and how to fix it.
    """

    state: str
    text: str


def check_storage(root: Path) -> Iterator[Finding]:
    """Findings on everything that DVC keeps outside its own process."""
    from dvc.exceptions import DvcException
    from dvc.repo import Repo

    if not (root / ".dvc").is_dir():
        yield Finding("bad", "not initialised; run `dvc init`")
        return
    try:
        with Repo(str(root)) as repo:
            yield from _cache(repo)
            yield from _remotes(repo)
            yield from _locks(repo)
            yield from _running(Path(repo.tmp_dir) / "rwlock")
    except DvcException as error:
        yield Finding("bad", f"{' '.join(str(error).split())}; fix .dvc/config")


def _cache(repo: Repo) -> Iterator[Finding]:
    folder, shared = Path(repo.cache.local_cache_dir), "shared" in repo.config["cache"]
    if folder.is_relative_to(repo.root_dir):
        yield Finding("ok", f"cache {folder.relative_to(repo.root_dir)}")
    else:
        yield from _folder(
            f"cache {folder}", folder, shared, "dvc config --local cache.shared group"
        )
    mask = os.umask(0)
    os.umask(mask)
    if shared and mask & 0o050:
        yield Finding(
            "note",
            f"umask {mask:03o}: your group cannot read what `dvc push --run-cache` and `dvc fetch "
            f"--run-cache` write; type `umask {mask & ~0o070:03o}` before them",
        )


def _folder(title: str, folder: Path, shared: bool, share: str) -> Iterator[Finding]:
    """Whether a folder can be written to, and by a group where it is meant for one."""
    try:
        found = folder.stat()
    except OSError as error:
        yield Finding(
            "bad",
            f"{title}: {error.strerror}; make it (`install -d -m 2775 -g GROUP {folder}`), or name "
            "another one",
        )
        return
    group, mode = _group(found.st_gid), found.st_mode
    if not os.access(folder, os.W_OK | os.X_OK):
        yield Finding(
            "bad",
            f"{title}: you cannot write to it; it is {_owner(found.st_uid)}'s and group {group}'s: "
            "have yourself added to that group, or its owner run "
            f"`chmod g+rwxs {folder}`",
        )
    elif shared and mode & 0o2070 != 0o2070:
        yield Finding(
            "bad",
            f"{title}: not open to its group {group}; its owner runs `chmod g+rwxs {folder}`",
        )
    elif mode & 0o020 and not shared:
        yield Finding("bad", f"{title}: group {group} cannot read what you add; run `{share}`")
    else:
        yield Finding("ok", title + (f", shared by group {group}" if shared else ""))
    if shared:
        for owner, number in _closed(folder).items():
            yield Finding(
                "bad",
                f"{folder}: the group cannot read {number} files or folders of {owner}, who runs "
                f"`find {folder} -user {owner} -exec chmod g+rX {{}} +`",
            )


def _closed(folder: Path) -> dict[str, int]:
    """Number of entries that are closed to the group, by owner."""
    counts: dict[str, int] = {}
    waiting, left = [folder], ENTRIES
    while waiting and left > 0:
        try:
            entries = list(os.scandir(waiting.pop()))
        except OSError:
            continue
        for entry in entries:
            left -= 1
            if entry.name.startswith("."):  # being written
                continue
            found = entry.stat(follow_symlinks=False)
            is_folder = entry.is_dir(follow_symlinks=False)
            if is_folder:
                waiting.append(Path(entry.path))
            needed = 0o050 if is_folder else 0o040
            if found.st_mode & needed != needed:
                owner = _owner(found.st_uid)
                counts[owner] = counts.get(owner, 0) + 1
    return counts


def _remotes(repo: Repo) -> Iterator[Finding]:
    default = repo.config["core"].get("remote")
    if not default:
        yield Finding(
            "note",
            "no default remote: results stay here; `dvc remote add -d NAME FOLDER_OR_URL` shares "
            "them",
        )
    for name in repo.config["remote"]:
        yield from _remote(repo, name, " (default)" if name == default else "")


def _remote(repo: Repo, name: str, note: str) -> Iterator[Finding]:
    from weir.tracking.server import shown_uri

    settings = repo.config["remote"][name]
    title = f"remote {name} {shown_uri(settings['url'])}{note}"
    answer: dict[str, Any] = {}

    def ask() -> None:
        try:
            remote = repo.cloud.get_remote(name)
            answer["local"] = remote.fs.protocol == "local"
            answer["path"] = remote.path
            answer["there"] = remote.fs.exists(remote.path)
        except Exception as error:
            answer["error"] = error

    asking = threading.Thread(target=ask, daemon=True)
    asking.start()
    asking.join(ANSWER_SECONDS)
    if error := answer.get("error"):
        what = " ".join(str(error).split()) or type(error).__name__
        yield Finding("bad", f"{title}: {what}; fix that, or `dvc remote modify {name}`")
    elif "there" not in answer:
        yield Finding("bad", f"{title}: no answer in {ANSWER_SECONDS:.0f} s; is its server up?")
    elif answer["local"] and answer["there"]:
        share = f"dvc remote modify --local {name} shared group"
        yield from _folder(title, Path(answer["path"]), "shared" in settings, share)
    elif answer["there"]:
        yield Finding("ok", title)
    else:
        yield Finding("note", f"{title}: nothing there yet; the first `dvc push` makes it")


def _locks(repo: Repo) -> Iterator[Finding]:
    folder = Path(repo.tmp_dir)
    if not folder.is_dir():
        return
    by_links = repo.config["core"].get("hardlink_lock", False)
    kind = file_system(folder)
    handle = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        pass
    except OSError as error:
        yield Finding(
            "bad",
            f"{kind}: files cannot be locked here ({error.strerror}); have it mounted with flock, "
            "or run `dvc config core.hardlink_lock true` and set WEIR_TRACKING=spool",
        )
    finally:
        os.close(handle)
    if kind in NETWORK and not by_links:
        yield Finding(
            "note",
            f".dvc/tmp is on {kind}: if locks do not hold between nodes (docs/site.md says how to "
            "try), `dvc config core.hardlink_lock true`",
        )
    lock = folder / "lock"
    if by_links and lock.exists():
        since = lock.stat().st_mtime - LINK_LOCK_DAYS * 86400
        if time.time() - since > HELD_SECONDS:
            yield Finding(
                "bad",
                f".dvc/tmp/lock: held since {time.strftime('%d %b %H:%M', time.localtime(since))}; "
                "if no dvc command runs on any node, remove that file",
            )


def _running(path: Path) -> Iterator[Finding]:
    """Stages that DVC holds for running; it knows a process by its number, but not its machine."""
    import psutil

    advice = "if no stage runs on any node, remove that file"
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return
    try:
        locks = json.loads(text)
        holders = [*locks.get("write", {}).values(), *chain(*locks.get("read", {}).values())]
        known = {int(holder["pid"]): holder["cmd"] for holder in holders}
    except (ValueError, KeyError, TypeError, AttributeError):
        yield Finding("bad", f".dvc/tmp/rwlock: unreadable, and every dvc command fails; {advice}")
        return
    for pid, command in known.items():
        try:
            words = psutil.Process(pid).cmdline()
        except psutil.Error:
            yield Finding(
                "note",
                f".dvc/tmp/rwlock: process {pid} (`{command}`) runs on another machine or is dead; "
                "nothing to do, dvc drops the entry when it meets it",
            )
            continue
        if program(words) in ("dvc", "weir", "snakemake"):
            yield Finding("ok", f"process {pid} is running (`{command}`)")
        else:
            yield Finding(
                "bad",
                f".dvc/tmp/rwlock: process {pid} (`{command}`) is of another machine or dead, but "
                f"here that number is `{' '.join(words)[:40]}`, for which dvc waits; {advice}",
            )


def file_system(path: Path) -> str:
    """Kind of the file system that a path lies on, such as `ext4` or `nfs4`."""
    found, kind = "", "unknown"
    for line in Path("/proc/self/mounts").read_text(encoding="utf-8").splitlines():
        _, place, name, *_ = line.split()
        place = place.replace("\\040", " ")
        if path.resolve().is_relative_to(place) and len(place) >= len(found):
            found, kind = place, name
    return kind


def _owner(number: int) -> str:
    try:
        return pwd.getpwuid(number).pw_name
    except KeyError:
        return str(number)


def _group(number: int) -> str:
    try:
        return grp.getgrgid(number).gr_name
    except KeyError:
        return str(number)
