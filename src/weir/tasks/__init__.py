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
| `stage1`, `joint` | `build(config, schema)`, `prepare(model, config, items)`, `objective` |
| `stage2` | `build(config, schema, below)`, `prepare(model, config, items, below)`, `objective` |
| `baseline` | `build(config, schema, below)`, `BUILT_ON`, `fit(model, config, data, below, ...)` |
| `evaluation` | `evaluate(model, data, config, details, ...)` |
| `figures` | `HEADLINE` or `FAMILIES`, `figures(evaluations)` |

`build` makes an untrained model: `config` is the typed node, `schema` the typed description of the
data (`data/schema.py`), `below` the untrained model that it is built on. A flow makes its student
by `as_student(config)`.
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
