"""Sections of params.yaml that are the same for every task."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, NonNegativeInt, PositiveFloat, PositiveInt, StringConstraints

from weir.settings.base import Config, NodeName
from weir.settings.training import Training

ModelRef = Annotated[
    str,
    StringConstraints(pattern=r"^(stage1|stage2|joint|distill|baseline)/[a-z0-9]+(-[a-z0-9]+)*$"),
]
"""A trained node, written `section/name`."""

FlowRef = Annotated[str, StringConstraints(pattern=r"^(stage2|joint)/[a-z0-9]+(-[a-z0-9]+)*$")]
"""A node that holds a flow, written `stage2/name` or `joint/name`."""

Solver = Literal["euler", "midpoint", "heun", "dopri5"]

DistillMethod = Literal["regression", "endpoint", "energy", "meanflow", "consistency", "match_mean"]


class Teacher(Config):
    """Samples of a trained flow, stored to be distilled."""

    model: FlowRef = Field(description="The flow to sample.")
    solver: Solver = Field("heun", description="Integrator of the probability-flow ODE.")
    steps: PositiveInt = Field(25, description="Steps of the integrator (Heun: two calls each).")
    draws: PositiveInt = Field(4, description="Stored samples of each training condition.")
    conditions: PositiveInt | None = Field(
        None, description="Training conditions sampled, evenly spaced; null takes all."
    )
    knots: NonNegativeInt = Field(
        0,
        description="Stored points along each trajectory, ends excluded; `endpoint` and "
        "`consistency` need some.",
    )


class Distill(Config):
    """A student that jumps from noise to sample in one or a few network calls."""

    teacher: NodeName = Field(description="The teacher node whose samples are imitated.")
    method: DistillMethod = Field(
        "regression",
        description="Objective; `match_mean` only shows why matching means destroys the spread.",
    )
    target: Literal["teacher", "data"] = Field(
        "teacher",
        description="For `consistency`: neighbours on the stored trajectories, or on the path "
        "between fresh noise and a stored output.",
    )
    draws: PositiveInt = Field(4, ge=1, description="Samples of each condition in a batch.")
    energy_weight: float = Field(
        0.0, ge=0, description="Weight of the energy score added; not for `energy`, `match_mean`."
    )
    held_out: float = Field(
        0.1, gt=0, lt=1, description="Share of the conditions, the last ones, that select it."
    )
    huber: PositiveFloat = Field(
        0.00054, description="Pseudo-Huber constant per dimension of a sample."
    )
    training: Training = Field(default_factory=Training, description="Optimisation.")


class Evaluate(Config):
    """Scores of one model on every item of a split, and what the report shows of it."""

    model: ModelRef = Field(description="The model to score.")
    split: Literal["validation", "test"] = Field("test", description="Split to score on.")
    samples: PositiveInt = Field(100, ge=2, description="Samples of each item.")
    solver: Solver = Field("heun", description="Integrator, for a flow.")
    steps: PositiveInt = Field(1, description="Steps of the integrator or of the student.")
    quality_steps: list[PositiveInt] = Field(
        default_factory=list,
        description="Further step counts for the curve of quality against network calls.",
    )
    label: str | None = Field(None, description="Name in the report; null takes the node's.")

    @property
    def stepped(self) -> bool:
        """Whether there is a number of steps to trade for quality; baselines have none."""
        return self.model.startswith(("stage2/", "joint/", "distill/"))

    @property
    def section(self) -> str:
        """Section of the model."""
        return self.model.partition("/")[0]


SHARED: dict[str, type[Config]] = {
    "teacher": Teacher,
    "distill": Distill,
    "evaluate": Evaluate,
}
"""Sections that suit any task as they are; a task may refine them."""


class Report(Config):
    """One HTML page."""

    title: str = Field("Weir report", description="Title of the page.")
    evaluate: list[NodeName] | Literal["all"] = Field(
        "all", description="Evaluations to show, or `all`."
    )
    scores: NodeName | None = Field(
        None,
        description="`weir scores update` writes the scores to docs/scores/<this>-<dataset>.json.",
    )
    preset: NodeName | None = Field(
        None, description="Preset that the page's commands name; null takes `scores`."
    )
