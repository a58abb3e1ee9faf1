"""Tasks: kinds of data that run through the same stages.

A task is a package of rooms with agreed doors, so that a stage imports only the part it needs and
an edit of one part reruns only the stages that use it. `part(task, "flow.stage2")` opens a door:

| door | functions |
|---|---|
| `about` | `CEILINGS`, `HEADLINES`, `COMMANDS`: what others must be told; imports nothing |
| `settings.sections` | `SECTIONS`: the typed node of each section of params.yaml; `PLOT` |
| `simulation.simulate` | `simulate(settings, folder)`: raw data with a known law |
| `preprocessing.describe` | `describe(file)`: proposes a dataset node for a user's file |
| `preprocessing.preprocess` | `preprocess(config, raw, output)` |
| `data.load` | `load(folder)`: `name`, `card()`, `split(part)`, `to(device)` |
| `representation.stage1`, `flow.joint` | `build(config, schema)`, `prepare`, `objective` |
| `flow.stage2` | `build(config, schema, below)`, `prepare`, `objective` |
| `baselines.baseline` | `build(config, schema, below)`, `fit` |
| `evaluation.evaluate` | `evaluate(model, data, config, ...)`: a `Scored` |
| `figures.figures` | `HEADLINE` or `FAMILIES`, `figures(evaluations)` |

`build` makes an untrained model: `config` is the typed node, `schema` the typed description of the
data (`data/schema.py`), `below` the untrained model that it is built on. A flow makes its student
by `as_student(config)`. `representation.stage1.objective` is None for a model that `prepare`
completes, which is then not trained. A task need not have every section: `image` has no `joint`.
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
