"""Nodes of params.yaml for the flow of records."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt, model_validator

from weir.config.base import Config, NodeName
from weir.config.training import Training


class Bins(Config):
    """The regular grid on which a record is modelled, from its origin on."""

    bins: PositiveInt = Field(24, ge=2, description="Number of bins.")
    hours: PositiveFloat | None = Field(
        None,
        description="Hours that they cover; null: as many as the longest training record has.",
    )


class MaskShares(Config):
    """What a record shows of itself in training; the rest is to be generated."""

    nothing: float = Field(
        0.35, ge=0, le=1, description="Share of the records that show nothing: new records."
    )
    prefix: float = Field(
        0.35,
        ge=0,
        le=1,
        description="Share that shows its beginning: forecasts. The rest hides random bins.",
    )
    known: float = Field(
        0.9, ge=0, le=1, description="Chance that the outcome is told where nothing is shown."
    )
    known_shown: float = Field(0.2, ge=0, le=1, description="The same where something is shown.")

    @model_validator(mode="after")
    def _shares(self) -> Self:
        if self.nothing + self.prefix > 1:
            raise ValueError("nothing and prefix are shares and may not exceed 1 together")
        return self


class FlowNetwork(Config):
    """Shape of the networks of context and velocity."""

    width: PositiveInt = Field(96, description="Width of a bin's token; a multiple of `heads`.")
    layers: PositiveInt = Field(3, description="Blocks of the velocity network.")
    context_layers: PositiveInt = Field(2, description="Blocks of the context network.")
    heads: PositiveInt = Field(4, description="Attention heads.")
    dropout: float = Field(0.1, ge=0, lt=1, description="Dropout of the blocks.")
    most: PositiveInt = Field(
        3, description="Events of a code in a bin from which on they are one class."
    )

    @model_validator(mode="after")
    def _heads_divide(self) -> Self:
        if self.width % self.heads:
            raise ValueError(f"heads ({self.heads}) must divide width ({self.width})")
        return self


class RecordFlowSettings(Config):
    """The generative process of a record's bins."""

    grid: Bins = Field(default_factory=Bins, description="Grid of bins.")
    masks: MaskShares = Field(default_factory=MaskShares, description="What is hidden in training.")
    flow_network: FlowNetwork = Field(default_factory=FlowNetwork, description="Networks.")
    path: Literal["linear", "trigonometric"] = Field(
        "linear", description="Interpolation between noise and data."
    )
    time_sampling: Literal["uniform", "logit_normal"] = Field(
        "uniform", description="Law of the training times."
    )
    draws: PositiveInt = Field(2, description="Posterior draws and times of a record in a batch.")
    decoder_weight: NonNegativeFloat = Field(
        1.0, description="Weight of the likelihood of what bins hold beside the flow's loss."
    )


class ClinicalFlow(RecordFlowSettings):
    """Stage 2: a flow of the latents of a record's bins, on a frozen first stage."""

    model: Literal["flow"] = Field("flow", description="The kind of second stage.")
    stage1: NodeName = Field(description="The stage1 node whose latents are modelled.")
    training: Training = Field(
        default_factory=lambda: Training(batch_size=64, steps=4000, ema=0.999),
        description="Optimisation.",
    )
