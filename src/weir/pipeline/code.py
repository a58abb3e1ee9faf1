"""What each stage's result owes to Weir's own code, as one hash for each stage and task.

A stage imports thirty to seventy modules, others for each task. Listed one by one in dvc.yaml they
would swamp it, and DVC, which reads and writes the whole of dvc.lock for each job. So stage `plan`
writes `results/code.json`, and every other stage has its one entry of it among its parameters:
`dvc repro` comes by `plan` first, and then reruns what an edit affects.

Comments, docstrings and layout are left out of the hash; the defaults of settings are in it, since
params.yaml does not spell them out.
"""

from __future__ import annotations

import ast
import json
import sys
from functools import cache
from pathlib import Path
from typing import Any

from weir.files import file_digest, write_atomically
from weir.pipeline.closure import module_file, stage_modules
from weir.pipeline.fingerprint import digest
from weir.settings.base import Config
from weir.settings.nodes import Report
from weir.stage_table import SECTION_OF
from weir.tasks import TASKS, part


def code_digests() -> dict[str, Any]:
    """Content of results/code.json: hashes by stage and task, for stage `report` just one."""
    found: dict[str, Any] = {
        stage: {
            task: code_digest(stage, task)
            for task in TASKS
            if section in part(task, "settings.sections").SECTIONS
        }
        for stage, section in SECTION_OF.items()
    }
    return {"code": {**found, "report": code_digest("report", "")}}


def code_digest(stage: str, task: str) -> str:
    """Hash of the code and the defaults behind a stage; that of `report` covers all tasks."""
    model = part(task, "settings.sections").SECTIONS[SECTION_OF[stage]] if task else Report
    every = [modules(stage, each) for each in ([task] if task else TASKS)]
    code = {name: value for found in every for name, value in found.items()}
    return digest([code, defaults(model)])[:16]


def modules(stage: str, task: str) -> dict[str, str]:
    """Hash of every module that a stage imports for a task, and of what lies beside them.

    `weir.tasks` itself is left out: it only names the tasks, and a new one changes no result.
    """
    names = {"weir.stages"} | stage_modules(stage, task) - {"weir.tasks"}
    files = {name: file for name in names if (file := module_file(name)) is not None}
    packages = {file.parent for file in files.values() if file.name == "__init__.py"}
    beside = {
        str(path.relative_to(package)): file_digest(path)
        for package in packages
        for path in package.rglob("*")
        if path.is_file() and path.suffix not in (".py", ".pyc")
    }
    return {name: source_digest(file) for name, file in files.items()} | beside


@cache
def source_digest(file: Path) -> str:
    """Hash of what a source file does: its syntax tree without docstrings."""
    tree = ast.parse(file.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        match node:
            case (
                ast.Module(body=[ast.Expr(value=ast.Constant(value=str())), *rest])
                | ast.ClassDef(body=[ast.Expr(value=ast.Constant(value=str())), *rest])
                | ast.FunctionDef(body=[ast.Expr(value=ast.Constant(value=str())), *rest])
                | ast.AsyncFunctionDef(body=[ast.Expr(value=ast.Constant(value=str())), *rest])
            ):
                node.body = rest
    return digest(ast.dump(tree))


def defaults(model: type[Config]) -> list[Any]:
    """Every default in a section's settings, with its place."""

    def walk(node: Any, path: tuple[str, ...]) -> list[Any]:
        if not isinstance(node, dict):
            return []
        own = [[".".join(path), node["default"]]] if "default" in node else []
        nested = [walk(node[key], (*path, key)) for key in sorted(node) if key != "default"]
        return own + [entry for entries in nested for entry in entries]

    return walk(model.model_json_schema(), ())


def main() -> None:
    """Write the hashes to the file that the command line names."""
    write_atomically(Path(sys.argv[1]), json.dumps(code_digests(), indent=1, sort_keys=True) + "\n")


if __name__ == "__main__":
    main()
