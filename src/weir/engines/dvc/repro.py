"""`dvc --wait-for-lock repro --single-item STAGE`, as Snakemake's jobs run it.

It is DVC that runs, in this process or in a fork of one that has it loaded (`warm`), with three
differences. DVC parses and writes the whole of dvc.lock to change the entry of one stage, in pure
Python, under the lock of the repository. That takes a second for a hundred runs and many for a
thousand, in which no other job can go on. Here the lines of that entry alone are replaced, and
the file takes the old one's place when it is whole; its content is the same. And where the
run-cache knows a result whose files only the remote has, they are pulled (`restore`); and the job
outlives a dvc command on another node and one that was killed (`claims`).

    python -m weir.engines.dvc.repro STAGE
"""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from weir.engines.fork.client import run_warm
from weir.files import write_atomically

if TYPE_CHECKING:
    from collections.abc import Iterable

    from dvc.dvcfile import Lockfile
    from dvc.stage import PipelineStage

HEAD = "schema: '2.0'\nstages:\n"


def main(arguments: list[str]) -> int:
    """Reproduce the stage that is named; returns DVC's exit code."""
    words = ["--wait-for-lock", "repro", "--single-item", *arguments]
    code = run_warm("dvc", words)
    return run(words) if code is None else code


def run(words: list[str]) -> int:
    """Run a command of DVC in this process."""
    from dvc.cli import main
    from dvc.dvcfile import Lockfile

    from weir.engines.dvc.claims import await_earlier_attempt, tolerate_lost_claims
    from weir.engines.dvc.run_cache import restore_from_remote

    whole = Lockfile.dump_stages

    def dump_stages(self: Lockfile, stages: Iterable[PipelineStage], **options: Any) -> None:
        stages = list(stages)
        if not _replace(self, stages, options):
            whole(self, stages, **options)

    Lockfile.dump_stages = dump_stages
    restore_from_remote()
    tolerate_lost_claims()
    sys.argv = ["dvc", *words]
    await_earlier_attempt(Path(".dvc/tmp"), " ".join(sys.argv))
    return main(words)


def _replace(lock: Lockfile, stages: list[PipelineStage], options: dict[str, Any]) -> bool:
    """Replace the entries of stages in dvc.lock; False if its form is not the expected one."""
    from dvc.dvcfile import logger
    from dvc.stage.serialize import to_lockfile
    from dvc.utils.serialize import dumps_yaml

    try:
        with open(lock.path, encoding="utf-8") as file:
            before = file.read()
    except FileNotFoundError:
        return False
    text: str | None = before
    for stage in stages:
        entry = dumps_yaml({"stages": to_lockfile(stage, **options)}).partition("\n")[2]
        text = with_entry(text, entry) if text is not None else None
    if text is None:
        return False
    if text != before:
        logger.info("Updating lock file '%s'", lock.relpath)
        write_atomically(Path(lock.path), text)
        lock.repo.scm_context.track_file(lock.relpath)
    return True


def with_entry(text: str, entry: str) -> str | None:
    """dvc.lock with the entry of one stage replaced, or added at the end.

    Args:
        entry: the lines of a stage, indented by two, as DVC writes them.

    Returns:
        None if the file is not as DVC writes it, or the entry shares values by anchors, which DVC
            counts through the whole file.
    """
    body = text.removeprefix(HEAD)
    key = entry.partition("\n")[0]
    plain = re.fullmatch(r"  [^\s'\"?#:&*!|>%][^\s'\"#:]*:", key)
    if body == text or not plain or not _as_written(body):
        return None
    start = f"\n{body}".find(f"\n{key}\n")
    if start < 0:
        if f"\n{key}" in f"\n{body}":
            return None
        start = end = len(body)
    else:
        following = re.compile(r"^  (?! )", re.MULTILINE).search(body, start + len(key))
        end = following.start() if following else len(body)
    if _ANCHOR.search(body, start, end) or _ANCHOR.search(entry) or not _as_written(entry):
        return None
    return HEAD + body[:start] + entry + body[end:]


_ANCHOR = re.compile(r"[ -][&*]id\d")


def _as_written(lines: str) -> bool:
    """Whether all lines belong to entries: there is no other section and no empty line."""
    return lines.endswith("\n") and not re.search(r"^(?!  \S|   )", lines[:-1], re.MULTILINE)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
