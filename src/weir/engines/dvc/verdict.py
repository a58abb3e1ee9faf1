"""DVC's verdict on every stage, in the form in which Snakemake decides: times of files.

Snakemake reruns what is older than its inputs. That is no truth: a clone, a checkout or a restored
output has times that mean nothing, and an edited parameter has none at all. So before Snakemake
plans, DVC is asked once, and

- a stage that DVC would run takes one more input, `.weir/stale/<reason>`, which is newer than any
  output; Snakemake then runs it and all that lies below;
- the outputs of every other stage are made no older than their inputs. Of a folder only
  `.snakemake_timestamp` is touched, which DVC ignores.
"""

from __future__ import annotations

import io
import logging
import os
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from weir.engines.dvc.stages import Stages, is_params, resolve, settings
from weir.errors import UserError
from weir.pipeline.layout import CODE

if TYPE_CHECKING:
    from dvc.fs import LocalFileSystem
    from dvc.repo import Repo
    from dvc.stage import PipelineStage

PLAN = "plan"
STALE = Path(".weir/stale")
REASONS = (
    "never-run",
    "changed-command",
    "changed-parameters",
    "changed-code",
    "changed-inputs",
    "missing-outputs",
    "changed-outputs",
    "busy",
)
LOCK_ATTEMPTS = 10
"""Attempts at DVC's lock, of three seconds each; it is held while outputs are hashed."""


def ask_dvc(
    root: Path, note: Callable[[str], None] = print, files: Mapping[Path, str] | None = None
) -> Stages:
    """Every stage with DVC's verdict; the times of files are set to agree with it.

    Stage `plan` is run first if it is stale: the others have the hash of their code from it.

    Args:
        root: the repository.
        note: says a line to the user.
        files: for who only looks, what stage `plan` and that before it would write; they are read
            from here, and nothing is run or written.

    Raises:
        UserError: dvc.yaml cannot be resolved, or DVC's lock stays held.
    """
    from dvc.exceptions import DvcException
    from dvc.lock import LockError
    from dvc.repo import Repo

    for attempt in range(LOCK_ATTEMPTS):
        try:
            with Repo(str(root), fs=_as_planned(files) if files else None) as repo:
                stages = _judge(repo, root, done={PLAN} if files else ())
            if stages.stages[PLAN].stale:
                with Repo(str(root)) as repo, _quiet():
                    repo.reproduce([PLAN], single_item=True)
                with Repo(str(root)) as repo:
                    stages = _judge(repo, root)
            break
        except LockError:
            if attempt == 0:
                note("waiting for another dvc command to release .dvc/tmp/lock")
        except DvcException as error:
            what = " ".join(str(error.__cause__ or error).split())
            raise UserError(f"dvc: {what}; fix that, then run snakemake again") from error
    else:
        raise UserError(
            ".dvc/tmp/lock: held by another dvc command for 30 s; wait for it to end, or run "
            "`weir doctor` if there is none"
        )
    _set_times(stages, root)
    _explain(stages, note)
    return stages


def _as_planned(files: Mapping[Path, str]) -> LocalFileSystem:
    """The file system, with the text of some files as they are to be."""
    from dvc.fs import LocalFileSystem

    class Planned(LocalFileSystem):
        def open(self, path: Any, mode: str = "r", **options: Any) -> Any:
            planned = Path(path).absolute()
            if mode == "r" and planned in files:
                return io.StringIO(files[planned])
            return super().open(path, mode, **options)

        def exists(self, path: Any, **options: Any) -> Any:
            planned = isinstance(path, str) and Path(path).absolute() in files
            return planned or super().exists(path, **options)

    return Planned()


@contextmanager
def _quiet() -> Iterator[None]:
    """Without DVC's account of a stage that takes a second and is no job of Snakemake's."""
    logger = logging.getLogger("dvc")
    level = logger.level
    logger.setLevel(logging.WARNING)
    try:
        yield
    finally:
        logger.setLevel(level)


def _judge(repo: Repo, root: Path, done: Collection[str] = ()) -> Stages:
    """Every stage with DVC's verdict, but for those that count as done."""
    from dvc.dvcfile import load_file
    from dvc.repo import lock_repo
    from dvc.utils.serialize import load_path

    with lock_repo(repo):
        dvcfile = load_file(repo, str(root / "dvc.yaml"))
        found = list(dvcfile.stages.values())
        files = {dep.fs_path for stage in found for dep in stage.deps if is_params(dep)}
        parameters = {
            file: load_path(file, repo.fs) if repo.fs.exists(file) else {} for file in files
        }
        busy = _busy(repo, found)
        hashes = _Hashes()
        stale = {
            stage.name: reason
            for stage in found
            if stage.name not in done
            if (reason := "busy" if stage.name in busy else _stale(stage, parameters, hashes))
        }
        return resolve(found, dvcfile.contents["stages"], parameters, stale, root)


class _Hashes:
    """Hash of each path, computed once: many stages read the same folders."""

    def __init__(self) -> None:
        self.known: dict[str, Any] = {}

    def of(self, item: Any) -> Any:
        """Hash of a dependency or an output; None if it is missing."""
        if item.fs_path not in self.known:
            self.known[item.fs_path] = item.get_hash() if item.exists else None
        return self.known[item.fs_path]


def _stale(stage: PipelineStage, parameters: Mapping[str, Any], hashes: _Hashes) -> str:
    """Why DVC would run a stage; empty if it would not.

    The rules of `dvc status`, which reads params.yaml and hashes shared folders again for each
    stage, so that it takes seconds for a hundred.
    """
    if not any(item.hash_info for item in (*stage.deps, *stage.outs)):
        return "never-run"
    if stage.changed_stage():
        return "changed-command"
    now = settings(stage, parameters)
    for dep in filter(is_params, stage.deps):
        recorded = dep.hash_info.value or {}
        keys = dep.params or {**parameters[dep.fs_path], **recorded}
        if any(key not in now or recorded.get(key, ...) != now[key] for key in keys):
            return "changed-code" if dep.fs_path.endswith(CODE) else "changed-parameters"
    for dep in stage.deps:
        if not is_params(dep) and (not dep.hash_info or hashes.of(dep) != dep.hash_info):
            return "changed-inputs"
    if any(hashes.of(out) is None for out in stage.outs):
        return "missing-outputs"
    if any(hashes.of(out) != out.hash_info or out.changed_cache() for out in stage.outs):
        return "changed-outputs"
    return ""


def _busy(repo: Repo, stages: Iterable[PipelineStage]) -> set[str]:
    """Stages whose files another dvc process is writing."""
    from dvc.lock import LockError
    from dvc.rwlock import rwlock

    from weir.engines.dvc.claims import tolerate_lost_claims

    tolerate_lost_claims()

    def blocked(paths: list[str]) -> bool:
        hardlink = repo.config["core"].get("hardlink_lock", False)
        try:
            with rwlock(repo.tmp_dir, repo.fs, "snakemake", paths, [], hardlink):
                return False
        except LockError:
            return True

    paths = {stage.name: [item.fs_path for item in (*stage.deps, *stage.outs)] for stage in stages}
    if not blocked([path for each in paths.values() for path in each]):
        return set()
    return {name for name, each in paths.items() if blocked(each)}


def is_busy(repo: Repo) -> bool:
    """Whether a dvc command on this machine reads or writes a file of any stage."""
    from dvc.dvcfile import load_file

    stages = load_file(repo, os.path.join(repo.root_dir, "dvc.yaml")).stages.values()
    return bool(_busy(repo, list(stages)))


def _explain(stages: Stages, note: Callable[[str], None]) -> None:
    if busy := [stage.name for stage in stages.stages.values() if stage.stale == "busy"]:
        note(f"{', '.join(busy)}: in use by another dvc command; planned as if to be run")
    if any(stage.stale == "missing-outputs" for stage in stages.stages.values()):
        note(
            "recorded outputs are missing: `dvc checkout` restores them from the cache, `dvc pull` "
            "from a remote; what is in neither is made again"
        )


def _set_times(stages: Stages, root: Path) -> None:
    newest = time.time_ns()
    for stage in stages.stages.values():
        if not stage.stale:
            inputs = max((_time(root / path) for path in stage.inputs), default=0)
            for path in stage.outputs:
                _raise_time(root / path, inputs)
            _raise_time(root / benchmark_file(stage.name), inputs)
        newest = max(newest, *(_time(root / path) + 1_000_000 for path in stage.outputs))
    for reason in REASONS:
        path = root / STALE / reason
        path.parent.mkdir(parents=True, exist_ok=True)
        # Snakemake remembers checksums of inputs: a newer file of the same content were no reason.
        path.write_text(f"{newest}\n", encoding="utf-8")
        os.utime(path, ns=(newest, newest))


def benchmark_file(name: str) -> str:
    """Snakemake's record of time and memory of a stage; it counts as one of the outputs."""
    return f"logs/{name.replace('@', '/')}.tsv"


def _carrier(path: Path) -> Path:
    """The file whose time Snakemake takes for that of `path`."""
    stamp = path / ".snakemake_timestamp"
    return stamp if stamp.exists() else path


def _time(path: Path) -> int:
    """When a file was changed, in nanoseconds; 0 if it is missing."""
    try:
        carrier = _carrier(path)
        return max(carrier.stat().st_mtime_ns, carrier.lstat().st_mtime_ns)
    except FileNotFoundError:
        return 0


def _raise_time(path: Path, least: int) -> None:
    carrier = _carrier(path)
    try:
        if carrier.lstat().st_mtime_ns < least:
            os.utime(carrier, ns=(least, least), follow_symlinks=False)
    except (FileNotFoundError, PermissionError):
        # A benchmark that was never written; or another owner's file, of which Snakemake at worst
        # plans one more step, which DVC then skips.
        pass
