"""What DVC keeps of runs of nodes that are no more: entries of dvc.lock, files of the cache."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from weir.errors import UserError
from weir.files import write_atomically


@dataclass(frozen=True)
class Leftovers:
    """Entries and files that no run of the present plan uses.

    Attributes:
        entries: stages in dvc.lock.
        files: of the cache and the run-cache; none of a cache outside of the repository.
    """

    entries: tuple[str, ...]
    files: tuple[Path, ...]


def leftovers(root: Path, stages: Collection[str], outputs: Collection[str]) -> Leftovers:
    """What DVC keeps and the present plan does not use.

    A file of the cache is among it only if an entry or a run of a stage that is gone names it, and
    no other entry or run does. What nothing names here, such as results of another branch, is left
    to `dvc gc`.

    Args:
        root: the repository.
        stages: names of the plan's stages, `stage@run`.
        outputs: what they make, relative to the root.
    """
    from dvc.repo import Repo
    from dvc.utils.serialize import load_yaml

    lock = root / "dvc.lock"
    recorded = (load_yaml(str(lock)).get("stages") or {}) if lock.exists() else {}
    gone = tuple(name for name in recorded if name not in stages)
    if not (root / ".dvc").is_dir():
        return Leftovers(gone, ())
    with Repo(str(root)) as repo:
        cache = Path(repo.cache.local.path)
        runs = Path(repo.stage_cache.cache_dir)
    if not cache.resolve().is_relative_to(root.resolve()):
        return Leftovers(gone, ())

    def kept(entry: Mapping[str, Any]) -> bool:
        paths = [out["path"] for out in entry.get("outs", ())]
        return any(path in outputs or any(f"{each}/" in path for each in outputs) for path in paths)

    past = {path: load_yaml(str(path)) for path in sorted(runs.glob("*/*/*"))}
    old = {path: entry for path, entry in past.items() if not kept(entry)}
    unused = [recorded[name] for name in gone] + list(old.values())
    used = [entry for name, entry in recorded.items() if name in stages]
    used += [entry for path, entry in past.items() if path not in old]
    objects = _objects(unused, cache) - _objects(used, cache)
    return Leftovers(gone, (*old, *sorted(path for path in objects if path.exists())))


def _objects(entries: Iterable[Mapping[str, Any]], cache: Path) -> set[Path]:
    """Files of the cache that hold the outputs of some entries."""
    found: set[Path] = set()
    for entry in entries:
        for out in entry.get("outs", ()):
            digest = out.get("md5") or ""
            found.add(_place(cache, digest))
            if digest.endswith(".dir"):
                try:
                    listed = json.loads(_place(cache, digest).read_text(encoding="utf-8"))
                except (OSError, ValueError):
                    continue
                found |= {_place(cache, item["md5"]) for item in listed}
    return found


def _place(cache: Path, digest: str) -> Path:
    return cache / digest[:2] / digest[2:]


def remove_entries(root: Path, names: Collection[str]) -> None:
    """Take stages out of dvc.lock."""
    from dvc.utils.serialize import dumps_yaml, loads_yaml

    lock = root / "dvc.lock"
    content = loads_yaml(lock.read_text(encoding="utf-8"), typ="rt")
    for name in names:
        del content["stages"][name]
    write_atomically(lock, dumps_yaml(content))


@contextmanager
def at_rest(root: Path) -> Iterator[None]:
    """Hold DVC's lock while nothing of DVC runs.

    Raises:
        UserError: a dvc command is at work.
    """
    from dvc.lock import LockError
    from dvc.repo import Repo, lock_repo

    from weir.engines.dvc.verdict import is_busy

    if not (root / ".dvc").is_dir():
        yield
        return
    advice = "wait until it ends; if there is none, `weir doctor` says what to do"
    with Repo(str(root)) as repo:
        try:
            with lock_repo(repo):
                if is_busy(repo):
                    raise UserError(f".dvc/tmp/rwlock: another dvc command is at work; {advice}")
                yield
        except LockError:
            raise UserError(f".dvc/tmp/lock: another dvc command is at work; {advice}") from None
