"""The stages of the pipeline, once for all who need to know them; nothing else is imported."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Stage:
    """What the command line, the plan, the runner and the report have to know of a stage.

    Attributes:
        name: its command, and its module in `weir.stages`.
        section: section of params.yaml from which it takes its node.
        help: what it does, as an infinitive.
        inputs: roles of the artifacts that it reads: `raw`, `data`, `upstream` (a model),
            `teacher` (samples) and `evaluations`.
        trains: whether it makes a model, which several processes may do together.
        architecture: whether `model` among its settings is an architecture; elsewhere it names
            another node.
        inherits: whether it is repeated for seeds as the node is that it is built on.
        kind: what the report calls a model that it makes.
    """

    name: str
    section: str
    help: str
    inputs: tuple[str, ...]
    trains: bool = False
    architecture: bool = False
    inherits: bool = False
    kind: str = ""

    @property
    def of_data(self) -> bool:
        """Whether it goes through a dataset once, before any model or seed."""
        return self.section == "datasets"

    @property
    def of_task(self) -> bool:
        """Whether it works for one task; a report may show several."""
        return self.section != "report"

    @property
    def of_run(self) -> bool:
        """Whether it works for one seed and held-out group, and records where it comes from."""
        return self.of_task and not self.of_data


STAGES = {
    stage.name: stage
    for stage in (
        Stage("fetch", "datasets", "obtain the raw data of a dataset node, or simulate it", ()),
        Stage(
            "preprocess",
            "datasets",
            "check, repair, split and standardise a dataset node",
            ("raw",),
        ),
        Stage(
            "stage1",
            "stage1",
            "train a representation",
            ("data",),
            trains=True,
            architecture=True,
            kind="stage1",
        ),
        Stage(
            "stage2",
            "stage2",
            "train a flow on a stage-1 model",
            ("data", "upstream"),
            trains=True,
            architecture=True,
            kind="teacher",
        ),
        Stage(
            "joint",
            "joint",
            "train both together",
            ("data",),
            trains=True,
            architecture=True,
            kind="joint",
        ),
        Stage("teacher", "teacher", "sample a trained flow", ("data", "upstream"), inherits=True),
        Stage(
            "distill",
            "distill",
            "train a one-step student on a teacher's samples",
            ("data", "upstream", "teacher"),
            trains=True,
            inherits=True,
            kind="student",
        ),
        Stage(
            "baseline",
            "baseline",
            "fit a baseline",
            ("data", "upstream"),
            trains=True,
            kind="baseline",
        ),
        Stage(
            "evaluate",
            "evaluate",
            "score a model on every item of a split",
            ("data", "upstream"),
            inherits=True,
        ),
        Stage("report", "report", "write an HTML report", ("evaluations",)),
    )
}
"""Every stage by its name, upstream first."""

SECTIONS = tuple(dict.fromkeys(stage.section for stage in STAGES.values()))
"""Sections of params.yaml, upstream first: a node names nodes of earlier sections only, so the
graph has no cycles."""

SECTION_OF = {stage.name: stage.section for stage in STAGES.values() if stage.of_task}
"""Stages that work for one task, and the section that holds their settings."""

OF_RUNS = tuple(stage.section for stage in STAGES.values() if stage.of_run)
"""Sections whose nodes are built on others and may be repeated for seeds."""
