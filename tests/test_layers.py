"""What import-linter cannot see: modules and parts of tasks that are named by strings."""

from __future__ import annotations

import ast
import re
import tomllib
from collections.abc import Iterator
from functools import cache
from importlib import import_module
from pathlib import Path

import pytest

from weir.stage_table import SECTION_OF, STAGES
from weir.tasks import TASKS, part

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "src" / "weir"
FILES = sorted(PACKAGE.rglob("*.py"))
TOLD_APART = ("stages", "tracking", "report", "pipeline", "engines", "artifacts", "commands")
"""Rooms that work for every task, and so know none by name."""

OPTIONAL = {
    "simulation.bundled",
    "preprocessing.describe",
    "data.description",
    "figures.figures",
}
"""Parts that only some tasks have: where settings cannot ask for one, or with `has_part`."""

MEANT_OTHERWISE = {"head": "a kind of model in reports, which a baseline is named like"}
"""Names of baselines or metrics that these rooms use for something else."""


def layers() -> dict[str, int]:
    """Height of each room and ground-level module, from pyproject.toml; 0 is at the bottom."""
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]
    names = next(item["layers"] for item in contracts["contracts"] if item["type"] == "layers")
    return {
        room.strip(): height
        for height, layer in enumerate(reversed(names))
        for room in layer.split("|")
    }


HEIGHT = layers()

STARTED = {"weir.cli": "the server of forks starts it as a program, as a shell would"}
"""Modules above that may be named."""


@cache
def module_file(module: str) -> Path | None:
    """The file of a module or package of Weir; None if there is none."""
    place = ROOT.joinpath("src", *module.split("."))
    return next((f for f in (place.with_suffix(".py"), place / "__init__.py") if f.exists()), None)


def room(module: str) -> str:
    return ".".join(module.split(".")[:2])


def module_of(file: Path) -> str:
    words = ("weir", *file.relative_to(PACKAGE).with_suffix("").parts)
    return ".".join(words[:-1] if words[-1] == "__init__" else words)


def parts(file: Path) -> Iterator[str]:
    """Names of parts that a module asks of a task."""
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        match node:
            case ast.Call(func=ast.Name(id="part"), args=[_, ast.Constant(value=str(name))]):
                yield name


def strings(file: Path) -> Iterator[str]:
    """String literals of a module, without docstrings and the pieces of f-strings."""
    tree = ast.parse(file.read_text(encoding="utf-8"))
    remarks = {
        id(node.value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
    }
    pieces = {
        id(piece)
        for node in ast.walk(tree)
        if isinstance(node, ast.JoinedStr)
        for piece in node.values
    }
    for node in ast.walk(tree):
        own = isinstance(node, ast.Constant) and id(node) not in remarks | pieces
        if own and isinstance(node.value, str):
            yield node.value


def named_modules(file: Path) -> Iterator[str]:
    """Modules that a file names in full, or whose package is the fixed beginning of an f-string."""
    tree = ast.parse(file.read_text(encoding="utf-8"))
    yield from (text for text in strings(file) if module_exists(text))
    for node in ast.walk(tree):
        match node:
            case ast.Call(
                func=ast.Name(id="import_module"),
                args=[ast.JoinedStr(values=[ast.Constant(value=str(text)), *_])],
            ):
                yield text.rstrip(".")
            case ast.Call(
                func=ast.Name(id="import_module"), args=[ast.Constant(value=str(text))]
            ) if text.startswith("weir"):
                yield text


def module_exists(text: str) -> bool:
    return re.fullmatch(r"weir(\.\w+)+", text) is not None and module_file(text) is not None


def test_every_part_that_is_asked_for_is_there() -> None:
    asked = {(file, name) for file in FILES for name in parts(file)}
    assert len(asked) > 20
    for file, name in asked:
        stage = file.stem if file.parent.name == "stages" and file.stem in SECTION_OF else ""
        for task in TASKS:
            if file.is_relative_to(PACKAGE / "tasks") and task not in file.parts:
                continue
            if stage and SECTION_OF[stage] not in part(task, "settings.sections").SECTIONS:
                continue
            there = module_file(f"weir.tasks.{task}.{name}") is not None
            others = [other for other in TASKS if module_file(f"weir.tasks.{other}.{name}")]
            assert there or (name in OPTIONAL and others) or lacks_section(task, name), (
                f"{file.relative_to(ROOT)} asks for part {name!r}, which task {task} lacks"
            )


def lacks_section(task: str, name: str) -> bool:
    """Whether a part is of a section that the task does not have, such as `flow.joint`."""
    last = name.rpartition(".")[2]
    return last in STAGES and last not in part(task, "settings.sections").SECTIONS


def test_modules_named_by_strings_are_there() -> None:
    for file in FILES:
        for target in named_modules(file):
            assert module_file(target) is not None, f"{file.relative_to(ROOT)}: {target}"
    for stage in STAGES:
        assert module_file(f"weir.stages.{stage}") is not None


def test_no_string_leads_upwards() -> None:
    """A room reaches by name only what it may import; tasks are reached by `part`."""
    for file in FILES:
        own = room(module_of(file))
        if own == "weir":
            continue
        for target in named_modules(file):
            up = HEIGHT[room(target)] > HEIGHT[own]
            assert not up or target in STARTED, (
                f"{file.relative_to(ROOT)} names {target}, which is above it"
            )
        if set(parts(file)):
            assert HEIGHT[own] >= HEIGHT["weir.tasks"], f"{file.relative_to(ROOT)} asks a task"


def methods(task: str) -> list[str]:
    """Names of a task's baselines; none where it has a single one."""
    baseline = part(task, "settings.sections").SECTIONS["baseline"]
    return baseline.model_json_schema()["properties"].get("method", {}).get("enum", [])


def known_names() -> dict[str, str]:
    """What belongs to a task: its own name, its baselines and its metrics."""
    found = dict.fromkeys(TASKS, "a task")
    for task in TASKS:
        found |= dict.fromkeys(methods(task), f"a baseline of {task}")
        definitions = import_module(f"weir.tasks.{task}.evaluation.definitions").DEFINITIONS
        found |= dict.fromkeys(definitions, f"a metric of {task}")
    return found


@pytest.mark.parametrize("name", TOLD_APART)
def test_what_serves_every_task_knows_none_by_name(name: str) -> None:
    known = known_names()
    for file in sorted((PACKAGE / name).rglob("*.py")):
        for text in strings(file):
            assert text not in known or text in MEANT_OTHERWISE, (
                f"{file.relative_to(ROOT)}: {text!r} is {known[text]}; the task shall say it"
            )


def test_the_command_line_knows_no_task_by_name() -> None:
    assert not set(known_names()) & set(strings(PACKAGE / "cli.py"))


def test_tasks_say_only_what_they_have() -> None:
    commands: list[str] = []
    for task in TASKS:
        about = part(task, "about")
        assert set(about.CEILINGS) <= set(methods(task))
        definitions = import_module(f"weir.tasks.{task}.evaluation.definitions").DEFINITIONS
        assert about.HEADLINES
        for metric, better in about.HEADLINES.items():
            assert definitions[metric].better == better
        commands += [own.name for name in about.COMMANDS for own in part(task, name).COMMANDS]
    assert len(set(commands)) == len(commands) and not set(commands) & set(STAGES)
