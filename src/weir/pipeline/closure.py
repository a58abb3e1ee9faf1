"""Which modules of Weir a stage imports: the code on which its result depends."""

from __future__ import annotations

import ast
from functools import cache
from pathlib import Path

PACKAGE = Path(__file__).resolve().parents[1]

SETTINGS = "settings.sections"
"""The part of a task that names the types of its settings."""


def stage_modules(stage: str, task: str) -> set[str]:
    """Every `weir` module that a stage imports for a task, at any depth.

    Imports inside functions count; those under `TYPE_CHECKING` do not. A stage reaches a task
    through `part(task, "name")`, which counts as an import of `weir.tasks.<task>.<name>`. The one
    exception are the types of all sections' settings, which only refuse what is not valid: of
    theirs the defaults alone are code on which a result depends.
    """
    seen: set[str] = set()
    frontier = [f"weir.stages.{stage}"]
    while frontier:
        module = frontier.pop()
        if module in seen:
            continue
        seen.add(module)
        direct, parts = _imports(module)
        frontier += direct
        if task:
            frontier += [f"weir.tasks.{task}.{name}" for name in parts if name != SETTINGS]
    return seen


def module_file(module: str) -> Path | None:
    """Source file of a `weir` module, or None if there is no such module."""
    base = PACKAGE.joinpath(*module.split(".")[1:])
    for candidate in (base.with_suffix(".py"), base / "__init__.py"):
        if candidate.is_file():
            return candidate
    return None


@cache
def _imports(module: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Modules a module imports, and the task parts it asks for by name."""
    file = module_file(module)
    if file is None:
        return (), ()
    found: list[str] = []
    parts: list[str] = []
    for node in _run_time_nodes(ast.parse(file.read_text(encoding="utf-8"))):
        match node:
            case ast.Import(names=names):
                found += [alias.name for alias in names if alias.name.startswith("weir")]
            case ast.ImportFrom(module=str(source), names=names) if source.startswith("weir"):
                submodules = [f"{source}.{alias.name}" for alias in names]
                inner = [name for name in submodules if module_file(name)]
                found += inner or [source]
                if len(inner) < len(submodules):
                    found.append(source)
            case ast.Call(func=ast.Name(id="part"), args=[_, ast.Constant(value=str(name))]):
                parts.append(name)
    packages = {parent for name in found for parent in _parents(name)}
    return tuple(sorted({*found, *packages})), tuple(parts)


def _parents(module: str) -> list[str]:
    """Packages whose `__init__` runs when `module` is imported, without `weir` itself."""
    words = module.split(".")
    return [".".join(words[:count]) for count in range(2, len(words))]


def _run_time_nodes(tree: ast.AST) -> list[ast.AST]:
    found: list[ast.AST] = []
    frontier = [tree]
    while frontier:
        node = frontier.pop()
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            frontier += node.orelse
            continue
        found.append(node)
        frontier += list(ast.iter_child_nodes(node))
    return found
