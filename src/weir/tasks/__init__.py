"""Tasks: kinds of data that run through the same stages.

A task is a package of rooms with agreed doors, so that a stage imports only the part it needs and
an edit of one part reruns only the stages that use it. `part(task, "flow.stage2")` opens a door:

| door | functions |
|---|---|
| `about` | `CEILINGS`, `HEADLINES`, `COMMANDS`: what others must be told; imports nothing |
| `settings.sections` | `SECTIONS`: the typed node of each section of params.yaml; `PLOT` |
| `simulation.simulate` | `simulate(settings, folder)`: raw data with a known law |
| `preprocessing.describe` * | `describe(file)`: proposes a dataset node for a user's file |
| `preprocessing.preprocess` | `preprocess(config, raw, output)` |
| `data.schema`, `data.description` * | `Schema`, a `SchemaFile`; `FILES` beside it, described |
| `data.load` | `load(folder)`: `name`, `card()`, `split(part)`, `to(device)` |
| `representation.stage1`, `flow.joint` | `build(config, schema)`, `prepare`, `objective` |
| `flow.stage2` | `build(config, schema, below)`, `prepare`, `objective` |
| `baselines.baseline` | `build(config, schema, below)`, `fit` |
| `evaluation.evaluate` | `evaluate(model, data, config, ...)`: a `Scored` |
| `evaluation.definitions` | `DEFINITIONS`: the words for every score; for tests alone |
| `figures.figures` * | `HEADLINE` or `FAMILIES`, `figures(evaluations)` |

A task may lack doors with a star, and `simulation.bundled`; `has_part` tells.

`build` makes an untrained model: `config` is the typed node, `schema` the typed description of the
data (`data/schema.py`), `below` the untrained model that it is built on. A flow is a `FlowModel`,
and makes its student by `as_student(config)`. `representation.stage1.objective` is None for a model
that `prepare` completes, which is then not trained. A task need not have every section: `image` has
no `joint`.
`docs/points` is a whole task in less than 200 lines, `tasks/forecast` the shortest real one. A new
task is a new folder here: whatever has `settings/sections.py` is one.
"""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from types import ModuleType

FOLDER = Path(__file__).parent

FIRST = ("forecast", "perturb", "clinical", "image")
"""Tasks that come first, in this order, where tasks are listed; the first is the default."""


def discover(folder: Path) -> tuple[str, ...]:
    """Names of the tasks in a folder; none of them is imported."""
    found = {file.parents[1].name for file in folder.glob("*/settings/sections.py")}
    return (*(name for name in FIRST if name in found), *sorted(found - set(FIRST)))


TASKS = discover(FOLDER)


def part(task: str, name: str) -> ModuleType:
    """Module `name` of a task, imported on first use."""
    if task not in TASKS:
        raise ValueError(f"unknown task {task!r}; known tasks: {', '.join(TASKS)}")
    return import_module(f"weir.tasks.{task}.{name}")


def has_part(task: str, name: str) -> bool:
    """Whether a task has a module `name`, which is not imported."""
    return (FOLDER / task / name.replace(".", "/")).with_suffix(".py").is_file()
