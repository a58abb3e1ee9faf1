"""Hash of the code behind each stage's result, by stage and task, in `results/code.json`.

A stage uses a hundred to four hundred definitions, others for each task. Listed by their files in
dvc.yaml they would swamp it, and DVC, which reads and writes the whole of dvc.lock for each job.
So stage `plan` writes `results/code.json`, and every other stage has its one entry of it among its
parameters: `dvc repro` comes by `plan` first, and then reruns what an edit affects.

`closure.py` finds the definitions, `content.py` says what of them counts. The hash is over the set
of their hashes, so that neither modules nor their order matter; the defaults of settings are in it,
since params.yaml does not spell them out.
"""

from __future__ import annotations

import gc
import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

from weir.files import write_atomically
from weir.pipeline.closure import Source
from weir.pipeline.content import Target
from weir.pipeline.fingerprint import digest
from weir.settings.base import Config
from weir.settings.nodes import Report
from weir.stage_table import SECTION_OF
from weir.tasks import TASKS, part

PACKAGE = Path(__file__).resolve().parents[1]
"""Weir's own source."""


def code_digests(package: Path = PACKAGE) -> dict[str, Any]:
    """Content of results/code.json: hashes by stage and task, for stage `report` just one."""
    with _no_collection():
        source = Source(package)
        found: dict[str, Any] = {
            stage: {
                task: _digest(source, stage, task)
                for task in TASKS
                if section in part(task, "settings.sections").SECTIONS
            }
            for stage, section in SECTION_OF.items()
        }
        found["report"] = _digest(source, "report", "")
        # The trees go at once, while nothing looks through them for garbage.
        del source
    return {"code": found}


@cache
def code_digest(stage: str, task: str) -> str:
    """Hash of the code and the defaults behind a stage; that of `report` covers all tasks."""
    with _no_collection():
        return _digest(Source(PACKAGE), stage, task)


def _digest(source: Source, stage: str, task: str) -> str:
    found = [source.digests(roots(stage, each), each) for each in ([task] if task else TASKS)]
    return digest([sorted(set().union(*found)), defaults(_settings(stage, task))])[:16]


def roots(stage: str, task: str) -> tuple[Target, Target]:
    """The definitions that a stage starts from.

    Its settings are made outside the stage, so their class, with its checks, is one of them.
    """
    model = _settings(stage, task)
    return (
        Target(f"weir.stages.{stage}", "run"),
        Target(model.__module__, model.__qualname__),
    )


def _settings(stage: str, task: str) -> type[Config]:
    return (
        Report if stage == "report" else part(task, "settings.sections").SECTIONS[SECTION_OF[stage]]
    )


@contextmanager
def _no_collection() -> Iterator[None]:
    """Keep garbage from being looked for: syntax trees are many objects, and none of them is."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


@cache
def defaults(model: type[Config]) -> list[Any]:
    """Every default in a section's settings, with its place."""

    def walk(node: Any, path: tuple[str, ...]) -> list[Any]:
        if not isinstance(node, dict):
            return []
        # Where two settings have one name, pydantic adds their modules, which are places.
        place = [key.rpartition("__")[2] if key.startswith("weir__") else key for key in path]
        own = [[".".join(place), node["default"]]] if "default" in node else []
        nested = [walk(node[key], (*path, key)) for key in sorted(node) if key != "default"]
        return own + [entry for entries in nested for entry in entries]

    return walk(model.model_json_schema(), ())


def main() -> None:
    """Write the hashes to the file that the command line names."""
    write_atomically(Path(sys.argv[1]), json.dumps(code_digests(), indent=1, sort_keys=True) + "\n")


if __name__ == "__main__":
    main()
