"""The stages of dvc.yaml with their templates filled in, as Snakemake's rules need them.

Reading them takes DVC, hence half a second: the main process of `snakemake` does it once and leaves
the result in `.weir/stages.json`, which its jobs read.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from graphlib import TopologicalSorter
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from weir.errors import UserError
from weir.files import write_atomically

if TYPE_CHECKING:
    from dvc.stage import PipelineStage

TABLE = Path(".weir/stages.json")


@dataclass(frozen=True)
class Stage:
    """A resolved stage.

    Attributes:
        name: its name to DVC, `stage@run` or `plan`.
        inputs: artifacts of other stages that it reads, as those declare them.
        outputs: its declared outputs.
        settings: its parameters as canonical JSON: the order of keys in params.yaml is lost.
        stale: why DVC would run it; empty if it is up to date.
    """

    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    settings: str
    stale: str = ""


@dataclass(frozen=True)
class Stages:
    """All resolved stages, upstream first, and the outputs of each kind with `{run}` in them."""

    stages: dict[str, Stage]
    patterns: dict[str, tuple[str, ...]]

    def named(self, stage: str, run: str) -> Stage:
        """The stage of a run.

        Raises:
            UserError: the plan has no such run.
        """
        name = f"{stage}@{run}"
        if name not in self.stages:
            raise UserError(
                f"{name}: params.yaml asks for no such run; `weir params show` lists the nodes"
            )
        return self.stages[name]

    def outputs(self, stage: str) -> list[str]:
        """Outputs of every run of a stage."""
        return [
            output
            for found in self.stages.values()
            if found.name.partition("@")[0] == stage
            for output in found.outputs
        ]

    def affected(self) -> set[str]:
        """Stages that DVC would run, and those below them, which may follow."""
        found: set[str] = set()
        made: set[str] = set()
        for stage in self.stages.values():
            if stage.stale or not made.isdisjoint(stage.inputs):
                found.add(stage.name)
                made.update(stage.outputs)
        return found

    def write(self, root: Path) -> None:
        """Leave the table to the jobs."""
        write_atomically(root / TABLE, json.dumps(asdict(self)))

    @classmethod
    def read(cls, root: Path) -> Stages:
        """The table that the main process left.

        Raises:
            UserError: there is none.
        """
        try:
            table = json.loads((root / TABLE).read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise UserError(f"{TABLE}: missing; run `snakemake` from the repository root") from None
        stages = {name: Stage(**_tuples(stage)) for name, stage in table["stages"].items()}
        return cls(stages, _tuples(table["patterns"]))


def is_folder(output: str) -> bool:
    """Whether an output is a folder: files have a suffix."""
    return not PurePosixPath(output).suffix


def resolve(
    found: Iterable[PipelineStage],
    templates: Mapping[str, Any],
    parameters: Mapping[str, Any],
    stale: Mapping[str, str],
    root: Path,
) -> Stages:
    """Bring DVC's stages into the form that the rules need.

    Args:
        templates: `stages` of dvc.yaml as written.
        parameters: content of each file of parameters by its path.
        stale: reason for each stage that DVC would run.
    """
    found = list(found)
    outputs = {stage.name: _paths(stage.outs, root) for stage in found}
    by_path = {path: stage for stage, paths in outputs.items() for path in paths}
    owners: dict[str, list[str]] = {}
    resolved = {}
    for stage in found:
        inputs: list[str] = []
        for path in _paths((dep for dep in stage.deps if not is_params(dep)), root):
            if path not in owners:
                owners[path] = _overlapping(path, by_path)
            inputs += owners[path]
        resolved[stage.name] = Stage(
            stage.name,
            tuple(dict.fromkeys(inputs)),
            outputs[stage.name],
            canonical(settings(stage, parameters)),
            stale.get(stage.name, ""),
        )
    graph = {name: {by_path[path] for path in stage.inputs} for name, stage in resolved.items()}
    order = TopologicalSorter(graph).static_order()
    return Stages({name: resolved[name] for name in order}, _patterns(templates))


def is_params(dep: Any) -> bool:
    """Whether a dependency of DVC is one on parameters."""
    return hasattr(dep, "params")


def settings(stage: PipelineStage, parameters: Mapping[str, Any]) -> dict[str, Any]:
    """The parameters of a stage by their dotted key; what is in none of its files is left out."""
    values: dict[str, Any] = {}
    for dep in filter(is_params, stage.deps):
        content = parameters[dep.fs_path]
        for key in dep.params or content:
            value: Any = content
            for word in key.split("."):
                value = value.get(word, ...) if isinstance(value, Mapping) else ...
            if value is not ...:
                values[key] = value
    return values


def canonical(value: Any) -> str:
    """JSON in which equal values look equal."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), default=str)


def _paths(outs: Iterable[Any], root: Path) -> tuple[str, ...]:
    return tuple(Path(out.fs_path).relative_to(root).as_posix() for out in outs)


def _overlapping(path: str, by_path: Mapping[str, str]) -> list[str]:
    """Outputs that are `path`, hold it (a file of a model folder), or lie in it (evaluations)."""
    above = [str(parent) for parent in (PurePosixPath(path), *PurePosixPath(path).parents)]
    owners = [parent for parent in above if parent in by_path]
    return owners or [output for output in by_path if output.startswith(f"{path}/")]


def _patterns(templates: Mapping[str, Any]) -> dict[str, tuple[str, ...]]:
    """Outputs of each kind of stage as dvc.yaml writes them, `{run}` for the key of the run."""
    patterns = {}
    for name, stage in templates.items():
        body = stage.get("do", stage)
        entries = [entry for kind in ("outs", "metrics", "plots") for entry in body.get(kind, [])]
        outputs = [entry if isinstance(entry, str) else next(iter(entry)) for entry in entries]
        patterns[name] = tuple(output.replace("${key}", "{run}") for output in outputs)
    return patterns


def _tuples(entries: Mapping[str, Any]) -> dict[str, Any]:
    return {
        key: tuple(value) if isinstance(value, list) else value for key, value in entries.items()
    }
