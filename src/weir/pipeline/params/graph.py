"""params.yaml as a checked graph of nodes: the one loader of CLI, Snakefile and tests."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from weir.errors import UserError, suggest
from weir.pipeline.params.problems import invalid, problem
from weir.pipeline.params.yaml_file import read_yaml, shown
from weir.settings.base import Config, NodeName
from weir.settings.nodes import Report
from weir.stage_table import OF_RUNS, SECTIONS, STAGES
from weir.tasks import TASKS, part

UPSTREAM_FIELDS = {"dataset": "datasets", "stage1": "stage1", "teacher": "teacher", "model": None}
"""Fields that name another node, and its section; `model` spells the section itself, unless it is
the node's own architecture."""


@dataclass(frozen=True)
class Node:
    """A node of params.yaml.

    Attributes:
        section: its section.
        name: its key in the section.
        task: the kind of data; empty for a report, which may show several.
        config: its typed settings.
        upstream: the nodes it names, as `section/name`.
        dataset: name of the dataset at the head of its chain; empty for a report.
        seeded: whether it is repeated for each seed.
        folds: names of the held-out groups of its dataset, for each of which it is repeated; empty
            where it is not.
    """

    section: str
    name: str
    task: str
    config: Config
    upstream: tuple[str, ...]
    dataset: str
    seeded: bool
    folds: tuple[str, ...] = ()

    @property
    def ref(self) -> str:
        """`section/name`."""
        return f"{self.section}/{self.name}"


@dataclass(frozen=True)
class Params:
    """A whole params.yaml: its seeds, and its nodes by `section/name`, upstream first."""

    path: Path
    seeds: tuple[int, ...]
    nodes: dict[str, Node]

    def section(self, section: str) -> list[Node]:
        """The nodes of a section, in the order of the file."""
        return [node for node in self.nodes.values() if node.section == section]

    def node(self, section: str, name: str) -> Node:
        """One node.

        Raises:
            UserError: there is none of that name.
        """
        if (ref := f"{section}/{name}") in self.nodes:
            return self.nodes[ref]
        names = [node.name for node in self.section(section)]
        where = shown(self.path)
        raise UserError(f"{where}: {section} has no node {name!r}; {suggest(name, names)}")

    def unused(self) -> list[str]:
        """Nodes that no evaluation leads back to."""
        used: set[str] = set()
        frontier = [node.ref for node in self.section("evaluate")]
        while frontier:
            ref = frontier.pop()
            if ref not in used:
                used.add(ref)
                frontier.extend(self.nodes[ref].upstream)
        return [
            ref for ref, node in self.nodes.items() if ref not in used and node.section != "report"
        ]


def load_params(path: Path | str = "params.yaml") -> Params:
    """Read and check a params.yaml.

    Raises:
        UserError: one line that says what is wrong, at which line, and how to fix it.
    """
    path = Path(path)
    raw = read_yaml(path)
    for key in raw:
        if key != "seeds" and key not in SECTIONS:
            raise problem(path, [key], f"unknown section {key!r}; {suggest(key, SECTIONS)}")
    seeds = _seeds(path, raw.get("seeds", [0]))
    nodes: dict[str, Node] = {}
    for section in SECTIONS:
        entries = raw.get(section) or {}
        if not isinstance(entries, dict):
            raise problem(path, [section], f"{section} must map node names to their settings")
        for name, settings in entries.items():
            node = _node(path, section, name, settings, nodes)
            nodes[node.ref] = node
    return Params(path, seeds, nodes)


def _seeds(path: Path, value: Any) -> tuple[int, ...]:
    if (
        not isinstance(value, list)
        or not value
        or any(isinstance(seed, bool) or not isinstance(seed, int) or seed < 0 for seed in value)
        or len(set(value)) < len(value)
    ):
        raise problem(path, ["seeds"], "seeds must be a list of different whole numbers from 0 on")
    return tuple(value)


def _node(path: Path, section: str, name: Any, settings: Any, nodes: dict[str, Node]) -> Node:
    where = [section, name]
    try:
        TypeAdapter(NodeName).validate_python(name)
    except ValidationError:
        raise problem(
            path,
            where,
            f"{name!r} is no node name; use lower-case letters, digits and single hyphens",
        ) from None
    if end := re.search(r"-([sf])[0-9]+$", name):
        what = {"s": "seed", "f": "fold"}[end[1]]
        raise problem(path, where, f"node name {name!r} ends like a {what}; rename the node")
    if not isinstance(settings, dict):
        raise problem(path, where, f"{section}.{name} must be a mapping of settings")
    upstream = _upstream(path, section, name, settings, nodes)
    task = _task(path, section, name, settings, [nodes[ref] for ref in upstream])
    sections = (
        {"report": Report} if section == "report" else part(task, "settings.sections").SECTIONS
    )
    if section not in sections:
        raise problem(
            path,
            where,
            f"{section}.{name}: task {task} has no {section} nodes; its sections are "
            + ", ".join(each for each in SECTIONS if each in sections),
        )
    model = sections[section]
    try:
        config = model.model_validate(settings)
    except ValidationError as error:
        raise invalid(path, where, model, settings, error) from None
    try:
        config.check_against_upstream(_lineage(upstream, nodes))
    except ValueError as error:
        raise problem(path, where, f"{section}.{name}: {error}") from None
    if section == "report" and isinstance(config.evaluate, list):
        upstream = tuple(
            _exists(path, [*where, "evaluate"], f"evaluate/{item}", nodes)
            for item in config.evaluate
        )
    elif section == "report":
        upstream = tuple(ref for ref, node in nodes.items() if node.section == "evaluate")
    seeded = section in OF_RUNS and getattr(config, "seeded", True)
    if section in OF_RUNS and STAGES[section].inherits:
        seeded = nodes[upstream[0]].seeded
    dataset = ""
    folds: tuple[str, ...] = ()
    if section == "datasets":
        dataset, folds = name, tuple(getattr(config, "folds", ()))
    elif section != "report":
        dataset, folds = nodes[upstream[0]].dataset, nodes[upstream[0]].folds
    if len(folds) < 2:
        folds = ()
    return Node(section, name, task, config, upstream, dataset, seeded, folds)


def _upstream(
    path: Path, section: str, name: str, settings: dict[str, Any], nodes: dict[str, Node]
) -> tuple[str, ...]:
    if section not in OF_RUNS:
        return ()
    refs = []
    for field, target in UPSTREAM_FIELDS.items():
        value = settings.get(field)
        if not isinstance(value, str) or (field == "model" and STAGES[section].architecture):
            continue
        ref = value if target is None else f"{target}/{value}"
        refs.append(_exists(path, [section, name, field], ref, nodes))
    if not refs:
        fields = "`dataset`, `stage1`, `model` or `teacher`"
        raise problem(path, [section, name], f"{section}.{name} names no upstream node ({fields})")
    return tuple(refs)


def _lineage(upstream: tuple[str, ...], nodes: dict[str, Node]) -> list[Config]:
    """Settings of all nodes that one with this upstream is built on, nearest first."""
    found: dict[str, Config] = {}
    frontier = list(upstream)
    while frontier:
        ref = frontier.pop(0)
        found[ref] = nodes[ref].config
        frontier.extend(each for each in nodes[ref].upstream if each not in found)
    return list(found.values())


def _exists(path: Path, where: list[str], ref: str, nodes: dict[str, Node]) -> str:
    if ref in nodes:
        return ref
    section, _, name = ref.rpartition("/")
    if section and section not in SECTIONS:
        detail = f"there is no section {section!r}; {suggest(section, SECTIONS)}"
    elif not section:
        detail = f"write it as section/name; {suggest(name, nodes)}"
    else:
        names = [node.name for node in nodes.values() if node.section == section]
        detail = f"{section} has no node {name!r}; {suggest(name, names)}"
    raise problem(path, where, f"{'.'.join(where)}: {detail}")


def _task(
    path: Path, section: str, name: str, settings: dict[str, Any], upstream: list[Node]
) -> str:
    if section == "report":
        return ""
    if section != "datasets":
        return upstream[0].task
    task = settings.get("task")
    if task not in TASKS:
        raise problem(
            path,
            [section, name, "task"],
            f"{section}.{name}.task is {task!r}; {suggest(str(task), TASKS)}",
        )
    return str(task)
