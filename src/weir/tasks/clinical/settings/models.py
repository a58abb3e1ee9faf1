"""Nodes of params.yaml for the clinical task's models: `stage1`, `stage2` and `joint`.

The second stage is a flow of records, or a head for the outcome, which the first may have as well.
`joint` trains the autoencoder of sets and the flow of records together.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, Self

from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt, model_validator

from weir.settings.base import Config, NodeName
from weir.settings.training import Training
from weir.tasks.clinical.settings.flow import ClinicalFlow, RecordFlowSettings


class Head(Config):
    """A head for the outcome."""

    representation: Literal["frozen", "fine_tuned"] = Field(
        "frozen", description="Keep the first stage as it is, or train all of it on."
    )
    summary: bool = Field(
        True, description="Add aggregates of each code's values where the first stage has none."
    )
    members: PositiveInt = Field(8, description="Members of the head, averaged.")
    hidden: PositiveInt = Field(128, description="Width of its two hidden layers.")
    input_dropout: float = Field(0.2, ge=0, lt=1, description="Dropout of what it is given.")
    dropout: float = Field(0.4, ge=0, lt=1, description="Dropout of its hidden layers.")
    encoder_learning_rate: PositiveFloat = Field(
        0.1, description="For `fine_tuned`: the first stage's, as a multiple of the head's."
    )


class Network(Config):
    """Shape of the autoencoder of sets and of the model of their sequence."""

    width: PositiveInt = Field(64, description="Width of sets' vectors and of states.")
    d_latent: PositiveInt = Field(32, description="Width of a set's latent.")
    set_encoder: Literal["pooling", "attention"] = Field(
        "pooling",
        description="Add up a set's events by attention weights, or let them attend to one "
        "another first (several times slower).",
    )
    set_layers: PositiveInt = Field(1, description="Blocks of `set_encoder: attention`.")
    knots: int = Field(16, ge=2, description="Knots of each code's piecewise linear values.")
    sequence: Literal["gru", "transformer"] = Field("gru", description="Model of the sequence.")
    layers: PositiveInt = Field(1, description="Its layers.")
    heads: PositiveInt = Field(4, description="Attention heads, everywhere; divides `width`.")
    causal: bool = Field(True, description="Whether states depend on no later set.")
    dropout: float = Field(0.1, ge=0, lt=1, description="Dropout of blocks and layers.")

    @model_validator(mode="after")
    def _divisible(self) -> Self:
        if self.width % self.heads:
            raise ValueError(f"heads must divide width: {self.heads} does not divide {self.width}")
        if self.sequence == "gru" and not self.causal and self.width % 2:
            raise ValueError("a gru in both directions needs an even width")
        return self


class Prior(Config):
    """How strongly the latents are held to the standard normal law, and how that begins."""

    beta: NonNegativeFloat = Field(0.05, description="Weight of the divergence; 1 is the ELBO.")
    anneal: Literal["linear", "cyclical", "none"] = Field(
        "linear", description="Rise to full weight once, several times, or start with it."
    )
    warmup: float = Field(
        0.2, gt=0, le=1, description="Share of the steps (of a cycle's) until full weight."
    )
    cycles: PositiveInt = Field(4, description="Cycles of `anneal: cyclical`.")
    free_bits: NonNegativeFloat = Field(
        0.05, description="Divergence that each latent may have for nothing, in nats."
    )


class Outcome(Config):
    """The head that is trained along with the autoencoder."""

    weight: NonNegativeFloat = Field(1.0, description="Weight of its cross-entropy; 0 for no head.")
    members: PositiveInt = Field(8, description="Members of the head, averaged.")
    hidden: PositiveInt = Field(128, description="Width of its two hidden layers.")
    input_dropout: float = Field(0.2, ge=0, lt=1, description="Dropout of what it is given.")
    dropout: float = Field(0.4, ge=0, lt=1, description="Dropout of its hidden layers.")


class CollapseMonitor(Config):
    """Watch over the latents, which may fall back to their prior law and tell nothing."""

    every: PositiveInt | None = Field(
        50, description="Steps between looks at a batch's latents; null for none."
    )
    sets: int = Field(512, ge=2, description="Sets that information is estimated from.")
    least_active: float = Field(
        0.1, ge=0, le=1, description="Alarm below this share of active latents."
    )
    least_information: NonNegativeFloat = Field(
        0.5, description="Alarm below this much information between sets and latents, in nats."
    )
    patience: PositiveInt = Field(4, description="Bad looks in a row that raise the alarm.")
    grace: float = Field(
        0.1, ge=0, le=1, description="Share of the steps in the beginning without alarm."
    )


class ClinicalStage1(Config):
    """Stage 1: SeqSetVAE, an autoencoder of sets of events with a model of their sequence."""

    dataset: NodeName = Field(description="The dataset node to train on.")
    model: Literal["seqsetvae"] = Field("seqsetvae", description="Architecture.")
    network: Network = Field(default_factory=Network, description="Its shape.")
    summary: bool = Field(
        True, description="Put aggregates of each code's values into the representation."
    )
    reconstruction: NonNegativeFloat = Field(
        0.02, description="Weight of reconstruction and divergence, in nats a set."
    )
    next_set: NonNegativeFloat = Field(
        0.002,
        description="Weight of predicting the next set's latent from a state, in nats a set; "
        "only of causal states.",
    )
    event_dropout: float = Field(
        0.1, ge=0, lt=1, description="Share of events hidden from the encoder in training."
    )
    prior: Prior = Field(default_factory=Prior, description="The latents' prior law.")
    outcome: Outcome = Field(default_factory=Outcome, description="The head trained along.")
    monitor: CollapseMonitor = Field(
        default_factory=CollapseMonitor, description="Watch over the latents."
    )
    training: Training = Field(
        default_factory=lambda: Training(
            batch_size=128,
            learning_rate=2e-3,
            weight_decay=0.05,
            betas=(0.9, 0.98),
            ema=0.99,
            validate_every=100,
        ),
        description="Optimisation.",
    )

    @model_validator(mode="after")
    def _something_to_learn(self) -> Self:
        if self.reconstruction == 0 and self.outcome.weight == 0:
            raise ValueError("reconstruction and outcome.weight are both 0: nothing to learn")
        return self


class ClinicalStage2(ClinicalFlow):
    """Stage 2: a flow of records, or a head that predicts the outcome."""

    model: Literal["flow", "head"] = Field(
        "flow", description="What is trained on the first stage."
    )
    head: Head = Field(default_factory=Head, description="For `head`: its settings.")

    @model_validator(mode="after")
    def _of_the_model(self) -> Self:
        others = ["head"] if self.model == "flow" else list(RecordFlowSettings.model_fields)
        for name in others:
            default = type(self).model_fields[name].get_default(call_default_factory=True)
            if getattr(self, name) != default:
                other = "head" if self.model == "flow" else "flow"
                raise ValueError(f"{name} is for model {other} only; remove it")
        return self

    def check_against_upstream(self, above: Sequence[Config]) -> None:
        """Only a first stage that has a risk can draw outcomes."""
        (stage1,) = (node for node in above if isinstance(node, ClinicalStage1))
        if self.outcomes == "drawn" and not stage1.outcome.weight:
            raise ValueError(
                "outcomes: drawn needs a stage1 node that is trained with the outcome; raise its "
                "outcome.weight above 0, or leave it out"
            )


class ClinicalJoint(ClinicalStage1, RecordFlowSettings):
    """SeqSetVAE and flow trained together: the flow's gradient reaches the encoder."""

    flow_weight: NonNegativeFloat = Field(
        0.2, description="Weight of the flow's loss beside the autoencoder's."
    )
    flow_warmup: float = Field(
        0.3, ge=0, le=1, description="Share of the steps during which that weight rises from 0."
    )
    vae_learning_rate: PositiveFloat = Field(
        1.0, description="Autoencoder's learning rate, as a multiple of the flow's."
    )
    training: Training = Field(
        default_factory=lambda: Training(batch_size=64), description="Optimisation."
    )

    @model_validator(mode="after")
    def _parts_go_together(self) -> Self:
        if self.reconstruction == 0:
            raise ValueError(
                "reconstruction must be above 0: a flow of latents from which nothing can be read "
                "is worth nothing"
            )
        if self.outcomes == "drawn" and not self.outcome.weight:
            raise ValueError(
                "outcomes: drawn needs outcome.weight above 0; raise it, or leave outcomes out"
            )
        return self
