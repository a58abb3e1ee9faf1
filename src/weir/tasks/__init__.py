"""Tasks: kinds of data that run through the same stages.

A task is a package of modules with agreed functions, so that a stage imports only the part it
needs and an edit of one part reruns only the stages built on it:

| module | functions |
|---|---|
| `config` | `SECTIONS`: the typed node of each section of params.yaml |
| `simulate` | `simulate(settings, folder)`: raw data with a known law |
| `describe` | `describe(file)`: proposes a dataset node for a user's file |
| `preprocess` | `preprocess(config, raw, output)` |
| `data` | `load(folder)`: `name`, `card()`, `split(part)`, `to(device)` |
| `stage1`, `stage2`, `joint` | `build(card)`, `prepare(model, config, items, ...)`, `objective` |
| `student` | `build(card)`, `start(config, teacher)`: a student before training |
| `baseline` | `build(card)`, `built_on(card)`, `fit(model, config, data, below, ...)` |
| `evaluation` | `evaluate(model, data, config, ...)`: a `Scored` |
| `figures` | `HEADLINE` or `FAMILIES`, `figures(evaluations)` |

`stage1.objective` is None for a model that `prepare` completes, which is then not trained. A task
need not have every section: `image` has no `joint`.
`tasks/forecast` is the reference; a new task is a new folder and its name in `TASKS`.
"""

from __future__ import annotations

from importlib import import_module
from types import ModuleType

TASKS = ("forecast", "perturb", "clinical", "image")


def part(task: str, name: str) -> ModuleType:
    """Module `name` of a task, imported on first use."""
    if task not in TASKS:
        raise ValueError(f"unknown task {task!r}; known tasks: {', '.join(TASKS)}")
    return import_module(f"weir.tasks.{task}.{name}")
