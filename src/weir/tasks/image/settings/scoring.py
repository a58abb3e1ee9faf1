"""Nodes of params.yaml that distil and evaluate models of images."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, Self

from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt, model_validator

from weir.settings.base import Config
from weir.settings.nodes import Distill, Evaluate
from weir.tasks.image.settings.models import ImageStage2, NetworkSettings


class ImageDistill(Distill):
    """A student that jumps from noise to a picture in one or a few network calls."""

    student: NetworkSettings | None = Field(
        None,
        description="For a teacher of model `flow`, whose gradient makes no jumps: its student's "
        "network; null takes the defaults. Other students have their teacher's.",
    )

    @property
    def network(self) -> NetworkSettings:
        """The network of a flow's student."""
        return self.student or NetworkSettings()

    def check_against_upstream(self, above: Sequence[Config]) -> None:
        """A network of its own is for the student of a flow only."""
        kind = next(each.model for each in above if isinstance(each, ImageStage2))
        if self.student is not None and kind != "flow":
            raise ValueError(
                f"student is for teachers of model flow; the student of a {kind} has its network, "
                "so remove it"
            )


class ImageEvaluate(Evaluate):
    """Scores of one model on a split, and what the report shows of it."""

    samples: PositiveInt = Field(100, ge=2, description="Samples of each class.")
    solver: Literal["heun", "euler", "ancestral", "direct", "midpoint", "dopri5"] = Field(
        "heun",
        description="How samples are made: along EDM's noises (heun, euler, ancestral), by the "
        "density's own draw (direct), or in steps of time (midpoint, dopri5).",
    )
    steps: PositiveInt = Field(
        18,
        description="Steps of the solver; `direct` draws in the first and takes noise off in the "
        "others. Of a student, network calls, 1 by default.",
    )
    direct_sigma: PositiveFloat = Field(
        0.1, description="Noise at which `direct` draws of several steps begin, event scale."
    )
    guidance: NonNegativeFloat | None = Field(
        None, description="Classifier-free guidance; 0 for none, null takes the model's."
    )
    pictures: PositiveInt = Field(8, description="Pictures of each class that the report shows.")
    sigmas: list[PositiveFloat] = Field(
        default_factory=lambda: [0.1, 0.25, 0.5, 1.0, 2.0, 4.0],
        description="Noises of the denoising table, in standard deviations of the data.",
    )

    @model_validator(mode="after")
    def _some_sigmas(self) -> Self:
        if not self.sigmas or len(set(self.sigmas)) < len(self.sigmas):
            raise ValueError("sigmas must name one noise at least, and none twice")
        return self

    @model_validator(mode="before")
    @classmethod
    def _a_student_jumps_once(cls, values: Any) -> Any:
        student = isinstance(values, dict) and str(values.get("model")).startswith("distill/")
        return {"steps": 1, **values} if student else values
