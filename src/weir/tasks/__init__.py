"""Tasks: kinds of data that run through the same stages.

A task is a package of modules with agreed functions, so that a stage imports only the part it
needs and an edit of one part reruns only the stages built on it:

| module | functions |
|---|---|
| `config` | `SECTIONS`: the typed node of each section of params.yaml |
| `data` | `preprocess(config, raw, output)`, `load(folder)` |
| `stage1`, `stage2`, `joint` | `objective(config, data, ...)`, `restore(...)` |
| `baselines` | `fit(config, data, ...)`, `restore(...)` |
| `evaluation` | `evaluate(model, data, config, output)` |
| `figures` | `figures(evaluations)` |

`tasks/forecast` is the reference; a new task is a new folder and its name in `TASKS`.
"""

from __future__ import annotations

from importlib import import_module
from types import ModuleType

TASKS = ("forecast",)


def part(task: str, name: str) -> ModuleType:
    """Module `name` of a task, imported on first use."""
    if task not in TASKS:
        raise ValueError(f"unknown task {task!r}; known tasks: {', '.join(TASKS)}")
    return import_module(f"weir.tasks.{task}.{name}")
