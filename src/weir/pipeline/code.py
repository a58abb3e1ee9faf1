"""Hash of the code behind each stage's result, by stage and run: `results/code.json`.

A stage uses a hundred to four hundred definitions, others for each task and kind of model. Listed
by their files in dvc.yaml they would swamp it, and DVC, which reads and writes the whole of
dvc.lock for each job. So stage `plan` writes `results/code.json`, and every other stage has its one
entry of it among its parameters: `dvc repro` comes by `plan` first, and then reruns what an edit
affects.

`closure.py` finds the definitions, `content.py` says what of them counts, `kind.py` what a model's
kind is. Runs of one stage, task and kind share a hash, and each has an entry of its own: DVC fills
in dvc.yaml before any stage runs, and `dvc exp run -S` may have set another kind by then. The hash
is over the set of the definitions' hashes, so that neither modules nor their order matter; the
defaults of settings are in it, since params.yaml does not spell them out.

To follow the definitions takes half a second, to read the source a hundredth. So what was found is
kept in `.weir/code.json`, for as long as no byte of the source changes.
"""

from __future__ import annotations

import gc
import hashlib
import json
import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache, cached_property
from pathlib import Path
from typing import Any

from weir.files import digest, write_atomically
from weir.pipeline.closure import SETTINGS, Source
from weir.pipeline.content import Target
from weir.pipeline.kind import other_words, sections_of
from weir.pipeline.layout import Layout, find_root
from weir.settings.base import Config
from weir.settings.nodes import Report
from weir.stage_table import SECTION_OF
from weir.tasks import TASKS, part

PACKAGE = Path(__file__).resolve().parents[1]
"""Weir's own source."""

Kinds = Mapping[str, Mapping[str, set[str]]]
"""The kinds of models by stage and task."""


def kinds_of(plan: Mapping[str, Any]) -> dict[str, dict[str, set[str]]]:
    """The kinds that the content of plan.json has."""
    found: dict[str, dict[str, set[str]]] = {stage: {} for stage in SECTION_OF}
    for stage in SECTION_OF:
        for run in plan["runs"].get(stage, {}).values():
            found[stage].setdefault(run["task"], set()).add(run["kind"])
    return found


def of_runs(plan: Mapping[str, Any], digests: Mapping[str, Any]) -> dict[str, Any]:
    """Content of results/code.json: hashes by stage and run, for stage `report` just one.

    Args:
        plan: content of plan.json.
        digests: hashes of its kinds, as `code_digests` finds them.
    """
    known = digests["code"]
    found = {
        stage: {
            key: known[stage][run["task"]][run["kind"]]
            for key, run in plan["runs"].get(stage, {}).items()
        }
        for stage in SECTION_OF
    }
    return {"code": {**found, "report": known["report"]}}


def code_digests(kinds: Kinds, package: Path = PACKAGE, work: Path | None = None) -> dict[str, Any]:
    """Hashes by stage, task and kind, for stage `report` just one.

    Args:
        package: Weir's source.
        work: folder `.weir`, where known hashes are kept.
    """
    with _no_collection():
        known = _Known(package, work)
        found: dict[str, Any] = {
            stage: {
                task: {kind: _digest(known, stage, task, kind) for kind in sorted(kinds)}
                for task, kinds in tasks.items()
            }
            for stage, tasks in kinds.items()
        }
        found["report"] = _digest(known, "report", "", "")
        known.keep()
        # The trees go at once, while nothing looks through them for garbage.
        del known
    return {"code": found}


@cache
def code_digest(stage: str, task: str, kind: str, work: Path | None = None) -> str:
    """Hash of the code and the defaults behind a stage.

    Args:
        task: kind of data; that of `report` covers all tasks.
        kind: of the models, see `kind.py`.
        work: folder `.weir`, where known hashes are kept.
    """
    with _no_collection():
        known = _Known(PACKAGE, work)
        found = _digest(known, stage, task, kind)
        known.keep()
        return found


def _digest(known: _Known, stage: str, task: str, kind: str) -> str:
    return digest([known.reached(stage, task, kind), defaults(_settings(stage, task))])[:16]


class _Known:
    """Hashes of what stages reach, which follow from the source alone.

    Args:
        package: Weir's source.
        work: folder in which they are kept; None keeps nothing.
    """

    def __init__(self, package: Path, work: Path | None) -> None:
        self.package = package
        self.file = None if work is None else work / "code.json"
        self.state = "" if work is None else state(package)
        self.hashes = self._read()
        self.is_new = False

    @cached_property
    def source(self) -> Source:
        """The source, which is read when something is not known."""
        return Source(self.package)

    def reached(self, stage: str, task: str, kind: str) -> str:
        """Hash of all definitions that a stage reaches for a kind."""
        place = f"{stage} {task} {kind}"
        if place not in self.hashes:
            others = other_words(task, kind) if task else frozenset()
            found = (
                self.source.digests(roots(stage, each, kind), each, others)
                for each in ([task] if task else TASKS)
            )
            self.hashes[place] = digest(sorted(set().union(*found)))
            self.is_new = True
        return self.hashes[place]

    def keep(self) -> None:
        """Write what was found.

        Of two processes that do so at once one has the last word, and the other's hashes are found
        again. If the source was edited since it was read, nothing is kept: nobody knows of which
        source the hashes are.
        """
        if self.file is None or not self.is_new or state(self.package) != self.state:
            return
        hashes = self._read() | self.hashes
        content = {"source": self.state, "hashes": hashes}
        write_atomically(self.file, json.dumps(content, indent=1, sort_keys=True) + "\n")

    def _read(self) -> dict[str, str]:
        if self.file is None:
            return {}
        try:
            content = json.loads(self.file.read_text(encoding="utf-8"))
            return content["hashes"] if content["source"] == self.state else {}
        except (OSError, ValueError, KeyError, TypeError):
            return {}


def state(package: Path) -> str:
    """Hash of every byte of the source, and of the Python that reads it."""
    found = hashlib.sha256(sys.version.encode())
    for folder, folders, names in os.walk(package):
        folders[:] = sorted(name for name in folders if name != "__pycache__")
        for name in sorted(names):
            content = Path(folder, name).read_bytes()
            found.update(f"{os.path.relpath(folder, package)} {name} {len(content)}\n".encode())
            found.update(content)
    return found.hexdigest()


def roots(stage: str, task: str, kind: str) -> tuple[Target, ...]:
    """The definitions that a stage starts from.

    Settings are made outside the stage, so the classes of its own and of those of the models below
    it, with their checks, are among them.
    """
    settings = {_settings(stage, task): None}  # as an ordered set
    for section in sections_of(kind):
        settings[part(task, SETTINGS).SECTIONS[section]] = None
    classes = (Target(model.__module__, model.__qualname__) for model in settings)
    return (Target(f"weir.stages.{stage}", "run"), *classes)


def _settings(stage: str, task: str) -> type[Config]:
    return Report if stage == "report" else part(task, SETTINGS).SECTIONS[SECTION_OF[stage]]


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


def code_text(plan: str, layout: Layout) -> str:
    """The hashes for the runs in the text of a plan, as results/code.json has them."""
    runs = json.loads(plan)
    found = of_runs(runs, code_digests(kinds_of(runs), work=layout.work))
    return json.dumps(found, indent=1, sort_keys=True) + "\n"


def main() -> None:
    """Write the hashes for the runs of plan.json to the file that the command line names."""
    layout = Layout(find_root())
    text = code_text(layout.plan.read_text(encoding="utf-8"), layout)
    write_atomically(Path(sys.argv[1]), text)


if __name__ == "__main__":
    main()
