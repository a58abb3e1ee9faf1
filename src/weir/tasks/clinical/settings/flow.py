"""Nodes of params.yaml for the flow of records."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt, model_validator

from weir.settings.base import Config, NodeName
from weir.settings.training import Training


class Bins(Config):
    """The regular grid on which a record is modelled, from its origin on."""

    bins: PositiveInt = Field(48, ge=2, description="Number of bins.")
    hours: PositiveFloat | None = Field(
        None,
        description="Hours that they cover; null: as many as the longest training record has.",
    )


class MaskShares(Config):
    """What a record shows of itself in training; the rest is to be generated."""

    nothing: float = Field(
        0.3, ge=0, le=1, description="Share of the records that show nothing: new records."
    )
    prefix: float = Field(0.3, ge=0, le=1, description="Share that shows its beginning: forecasts.")
    cells: float = Field(
        0.15,
        ge=0,
        le=1,
        description="Share that hides single codes of single bins. The rest hides whole bins.",
    )
    known: float = Field(
        0.9, ge=0, le=1, description="Chance that the outcome is told where nothing is shown."
    )
    known_shown: float = Field(0.2, ge=0, le=1, description="The same where something is shown.")

    @model_validator(mode="after")
    def _shares(self) -> Self:
        if self.nothing + self.prefix + self.cells > 1:
            raise ValueError("nothing, prefix and cells are shares and may not exceed 1 together")
        return self


class FlowNetwork(Config):
    """Shape of the networks of the flow and of the decoder of bins."""

    code: PositiveInt = Field(48, description="Width of a record's code.")
    noise: PositiveInt = Field(8, description="Width of a bin's own noise.")
    components: PositiveInt = Field(8, description="Gaussians of the law of that noise.")
    width: PositiveInt = Field(192, description="Hidden width of all networks.")
    layers: PositiveInt = Field(2, description="Residual layers of the velocity and the decoder.")
    dropout: float = Field(0.0, ge=0, lt=1, description="Dropout of the velocity's layers.")
    most: PositiveInt = Field(
        3, description="Events of a code in a bin from which on they are one class."
    )


class FlowWeights(Config):
    """Weights of the loss's parts; the likelihood of bins has weight one, in nats a bin."""

    flow: NonNegativeFloat = Field(
        1.0, description="Of flow matching on the codes, and of the regression that it starts from."
    )
    beta: NonNegativeFloat = Field(
        0.1, description="Of the divergence of records' codes; 1 is the ELBO."
    )
    noise: NonNegativeFloat = Field(
        1.0, description="Of the divergence of the bins' own noise; 1 is the ELBO."
    )
    single: NonNegativeFloat = Field(
        10.0, description="Of the law of single values given what is shown, in nats a value."
    )
    outcome: NonNegativeFloat = Field(
        0.2, description="Of the outcome's cross-entropy given the code."
    )


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
    draws: PositiveInt = Field(4, description="Times of a record's code in a batch.")
    decoded_bins: PositiveInt = Field(
        12, description="Bins of a record in a batch that are decoded, drawn at random."
    )
    forget: float = Field(
        0.5,
        ge=0,
        lt=1,
        description="Share of the codes of most bins whose last values are forgotten in training, "
        "so that the record's code tells of them.",
    )
    weights: FlowWeights = Field(default_factory=FlowWeights, description="Of the loss's parts.")
    outcomes: Literal["told", "drawn"] = Field(
        "told",
        description="Outcomes of synthetic records: those that they were made for, or drawn again "
        "by the risk that the first stage, trained with the outcome, sees in what was made.",
    )


class ClinicalFlow(RecordFlowSettings):
    """Stage 2: a flow of records, bin after bin, on a frozen first stage."""

    model: Literal["flow"] = Field("flow", description="The kind of second stage.")
    stage1: NodeName = Field(description="The stage1 node whose representation is used.")
    training: Training = Field(
        default_factory=lambda: Training(
            batch_size=64, steps=2000, learning_rate=2e-3, weight_decay=0.01, ema=0.99
        ),
        description="Optimisation.",
    )
