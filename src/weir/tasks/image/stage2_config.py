"""The `stage2` nodes of the image task."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, Self

from pydantic import Field, NonNegativeFloat, PositiveInt, model_validator

from weir.config.base import Config, NodeName
from weir.config.training import Training
from weir.tasks.image.flow_config import (
    DensitySettings,
    NetworkSettings,
    Noise,
    PlainSettings,
    Weights,
)

ONLY = {
    "density": ("flow",),
    "weights": ("flow",),
    "network": ("denoiser", "matching"),
    "noise": ("flow", "denoiser"),
    "time_sampling": ("matching",),
    "draws": ("denoiser", "matching"),
    "drop_class": ("flow", "denoiser", "matching"),
    "guidance": ("flow", "denoiser", "matching"),
    "plain": ("plain",),
}
"""The models that each setting belongs to."""


class ImageStage2(Config):
    """Stage 2: a generative model of pictures given their class, in the space of its stage1 node.

    `flow` is a normalising flow whose gradient is the score under EDM; `denoiser` the same EDM with
    an unrestricted network; `matching` flow matching with that network; `plain` a plain flow.
    """

    stage1: NodeName = Field(description="The stage1 node in whose space the model lives.")
    model: Literal["flow", "denoiser", "matching", "plain"] = Field(
        "flow", description="Which model."
    )
    density: DensitySettings = Field(
        default_factory=DensitySettings, description="For `flow`: the normalising flow."
    )
    weights: Weights = Field(default_factory=Weights, description="For `flow`: its loss.")
    network: NetworkSettings = Field(
        default_factory=NetworkSettings, description="For `denoiser`, `matching`: the network."
    )
    noise: Noise = Field(
        default_factory=Noise, description="For `flow`, `denoiser`: noises of EDM."
    )
    time_sampling: Literal["uniform", "logit_normal"] = Field(
        "uniform", description="For `matching`: law of the training times."
    )
    draws: PositiveInt = Field(
        1, description="For `denoiser`, `matching`: noises of an item in a batch."
    )
    drop_class: float = Field(
        0.0, ge=0, lt=1, description="Chance of hiding the class in training, for guidance."
    )
    guidance: NonNegativeFloat = Field(
        0.0, description="Classifier-free guidance of samples, a teacher's too; 0 for none."
    )
    plain: PlainSettings = Field(
        default_factory=PlainSettings, description="For `plain`: the plain flow."
    )
    training: Training = Field(
        default_factory=lambda: Training(batch_size=256), description="Optimisation."
    )

    @model_validator(mode="after")
    def _of_the_model(self) -> Self:
        for name, models in ONLY.items():
            default = type(self).model_fields[name].get_default(call_default_factory=True)
            if self.model not in models and getattr(self, name) != default:
                raise ValueError(f"{name} is not for model {self.model}; remove it")
        if self.guidance and not self.drop_class:
            raise ValueError("guidance needs a model that also knows no class: set drop_class")
        return self

    def fits_on(self, above: Sequence[Config]) -> None:
        """Components of grey levels are for pixels only."""
        if self.density.levels and getattr(above[0], "model", "") != "pixels":
            raise ValueError(
                "density.levels: only pixels have grey levels; leave it out, or build on a stage1 "
                "node of model pixels"
            )
