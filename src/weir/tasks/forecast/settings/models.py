"""Settings of the forecasting models: backbone, flow, joint training."""

from __future__ import annotations

from typing import Literal, Self, TypeVar

from pydantic import (
    Field,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    model_validator,
)

from weir.settings.base import Config, NodeName
from weir.settings.training import Training

Shape = TypeVar("Shape", "Backbone", "Velocity")


def heads_divide_width(shape: Shape) -> Shape:
    """Refuse a width that the attention heads cannot share."""
    if shape.heads and shape.width % shape.heads:
        raise ValueError(f"heads must divide width: {shape.heads} does not divide {shape.width}")
    return shape


class Ridge(Config):
    """Penalties of the linear forecaster that the backbone corrects, fitted in closed form."""

    window: PositiveFloat = Field(
        0.03, description="Of the window's weights, in units of its mean square."
    )
    level: PositiveFloat = Field(
        8.0, description="Of the level's weight; a large one keeps the level from reverting."
    )
    phase: PositiveFloat = Field(0.03, description="Of the phases' weights.")


class Backbone(Config):
    """Shape of the iTransformer: one token per variable."""

    width: PositiveInt = Field(64, description="Width of a variable's token.")
    layers: PositiveInt = Field(2, description="Transformer blocks.")
    heads: NonNegativeInt = Field(
        4, description="Attention heads; divides `width`. 0 for no attention between variables."
    )
    dropout: float = Field(0.1, ge=0, lt=1, description="Dropout of tokens and blocks.")
    head: Literal["student_t", "gaussian", "point"] = Field(
        "student_t", description="Marginal law that the head describes."
    )
    cycle: bool = Field(True, description="Tell the model the phase in the dataset's cycle.")
    reverting: bool = Field(
        True, description="Tell the model a window's level, so that levels may revert."
    )
    linear_skip: bool = Field(True, description="Correct a linear forecaster, not the mean.")
    ridge: Ridge = Field(default_factory=Ridge, description="Penalties of that forecaster.")
    floor: PositiveFloat = Field(
        0.1, description="Least scale of a window's instance normalisation, in training deviations."
    )

    @model_validator(mode="after")
    def _divisible(self) -> Self:
        return heads_divide_width(self)


class ForecastStage1(Config):
    """Stage 1: a backbone that forecasts a location, a scale and a tail for each value."""

    dataset: NodeName = Field(description="The dataset node to train on.")
    model: Literal["itransformer"] = Field("itransformer", description="Architecture.")
    backbone: Backbone = Field(default_factory=Backbone, description="Shape of the backbone.")
    point_weight: NonNegativeFloat = Field(
        0.5, description="Weight of the squared error beside the likelihood."
    )
    training: Training = Field(default_factory=Training, description="Optimisation.")


class Velocity(Config):
    """Shape of the velocity network: variate tokens with adaLN-zero."""

    width: PositiveInt = Field(64, description="Width of a token.")
    layers: PositiveInt = Field(2, description="Transformer blocks.")
    heads: PositiveInt = Field(4, description="Attention heads; divides `width`.")
    dropout: float = Field(0.0, ge=0, lt=1, description="Dropout of the blocks.")
    condition_dropout: float = Field(
        0.1, ge=0, lt=1, description="Dropout of the backbone's tokens."
    )

    @model_validator(mode="after")
    def _divisible(self) -> Self:
        return heads_divide_width(self)


class FlowSettings(Config):
    """The generative process of the residual around the deterministic forecast."""

    process: Literal["flow_matching"] = Field("flow_matching", description="Generative process.")
    residual: Literal["normal_score", "scaled", "raw", "direct"] = Field(
        "normal_score",
        description="What is taken off the data first: the head's whole law, location and scale, "
        "location, or nothing.",
    )
    path: Literal["linear", "trigonometric"] = Field(
        "trigonometric", description="Interpolation between noise and data."
    )
    source: Literal["correlated", "isotropic"] = Field(
        "correlated",
        description="Law of the noise: the training residuals' covariance, or white.",
    )
    time_sampling: Literal["uniform", "logit_normal"] = Field(
        "uniform", description="Law of the training times."
    )
    shrink_kronecker: float = Field(
        0.5, ge=0, le=1, description="Shrinkage of the covariance to its Kronecker structure."
    )
    shrink_diagonal: float = Field(
        0.01, ge=0, le=1, description="Shrinkage of the covariance to its diagonal."
    )
    symmetric: bool = Field(
        True, description="Mirror residuals in training; turn off where they are skewed."
    )
    draws: PositiveInt = Field(2, description="Pairs of noise and time of a window in a batch.")
    network: Velocity = Field(default_factory=Velocity, description="Velocity network.")


class ForecastStage2(FlowSettings):
    """Stage 2: a flow over the standardised residual of a frozen backbone."""

    stage1: NodeName = Field(description="The stage1 node whose residual is modelled.")
    training: Training = Field(default_factory=Training, description="Optimisation.")


class Curriculum(Config):
    """Weights of the two losses of joint training, as the training goes on."""

    warmup: float = Field(0.3, ge=0, le=1, description="Share of the steps of the first phase.")
    deterministic_start: float = Field(1.0, ge=0, description="Backbone's weight at the start.")
    deterministic_warm: float = Field(0.7, ge=0, description="... at the end of the warm-up.")
    deterministic_end: float = Field(0.3, ge=0, description="... afterwards.")


class ForecastJoint(FlowSettings):
    """Backbone and flow trained together: the flow's gradient reaches the backbone."""

    dataset: NodeName = Field(description="The dataset node to train on.")
    backbone: Backbone = Field(default_factory=Backbone, description="Shape of the backbone.")
    point_weight: NonNegativeFloat = Field(
        0.5, description="Weight of the squared error beside the likelihood."
    )
    curriculum: Curriculum = Field(default_factory=Curriculum, description="Weights over time.")
    backbone_learning_rate: PositiveFloat = Field(
        1.0, description="Backbone's learning rate, as a multiple of the flow's."
    )
    training: Training = Field(default_factory=Training, description="Optimisation.")
