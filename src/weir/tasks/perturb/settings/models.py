"""Nodes of params.yaml for the perturbation task's models: `stage1`, `stage2` and `joint`."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import (
    Field,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    field_validator,
    model_validator,
)

from weir.settings.base import Config, NodeName
from weir.settings.training import Training


class Autoencoder(Config):
    """Shape of the autoencoder of counts."""

    d_int: PositiveInt = Field(20, description="Width of the intrinsic latent.")
    d_tech: NonNegativeInt = Field(4, description="Width of the technical latent.")
    hidden: PositiveInt = Field(256, description="Width of the hidden layers.")
    layers: PositiveInt = Field(1, description="Hidden layers of the encoder, and of the decoder.")
    decoder: Literal["mlp", "linear", "both"] = Field(
        "both", description="How the latents move the genes' log shares; `both` adds the two."
    )
    batch_covariate: bool = Field(
        True, description="Tell encoder and decoder the batch, not only the technical prior."
    )
    dropout: float = Field(0.1, ge=0, lt=1, description="Dropout of the hidden layers.")


class Prior(Config):
    """How strongly the latents are held to their prior laws."""

    beta: NonNegativeFloat = Field(1.0, description="Weight of both divergences; 1 is the ELBO.")
    warmup: float = Field(0.2, ge=0, le=1, description="Share of the steps until full weight.")
    free_bits: NonNegativeFloat = Field(
        0.0, description="Divergence that each intrinsic latent may have for nothing, in nats."
    )
    batch_dropout: float = Field(
        0.1, ge=0, le=1, description="Share of training cells whose batch is hidden from the model."
    )


class Independence(Config):
    """What keeps the batch out of the intrinsic latent, within cells of one type and condition."""

    method: Literal["none", "hsic", "adversary"] = Field("hsic", description="Which term.")
    weight: NonNegativeFloat = Field(
        100.0, description="Weight of that term; an adversary wants about a tenth of hsic's."
    )
    technical_weight: NonNegativeFloat = Field(
        100.0,
        description="Weight of the term (hsic) that keeps cell type and perturbation out of the "
        "technical latent, which an edited cell retains.",
    )


ONLY = {
    "network": "nb_vae",
    "prior": "nb_vae",
    "independence": "nb_vae",
    "training": "nb_vae",
    "components": "pca",
}
"""The model that each block of settings belongs to."""


class PerturbStage1(Config):
    """Stage 1: an autoencoder of counts with an intrinsic and a technical latent, or a linear code
    of expression."""

    dataset: NodeName = Field(description="The dataset node to train on.")
    model: Literal["nb_vae", "pca"] = Field(
        "nb_vae",
        description="Autoencoder of counts, or principal components of log-normalised expression "
        "in closed form (an ablation: no counts, no technical latent).",
    )
    components: PositiveInt | None = Field(
        50, description="For `pca`: components; null codes every gene as itself."
    )
    network: Autoencoder = Field(default_factory=Autoencoder, description="Its shape.")
    prior: Prior = Field(default_factory=Prior, description="The latents' prior laws.")
    independence: Independence = Field(
        default_factory=Independence, description="Separation of the latents."
    )
    training: Training = Field(default_factory=Training, description="Optimisation.")

    @property
    def seeded(self) -> bool:
        """Whether another seed would give another model."""
        return self.model != "pca"

    @model_validator(mode="after")
    def _of_the_model(self) -> Self:
        for name, model in ONLY.items():
            default = type(self).model_fields[name].get_default(call_default_factory=True)
            if self.model != model and getattr(self, name) != default:
                raise ValueError(f"{name} is for model {model} only; remove it")
        return self


RoleName = Literal["batch", "cell_type", "niche"]


class Context(Config):
    """What is told of a cell besides its latent."""

    width: PositiveInt = Field(32, description="Width of a context.")
    roles: list[RoleName] = Field(
        default_factory=lambda: ["batch", "cell_type", "niche"],
        description="What the base field sees; used by source `noise` only.",
    )
    effect_roles: list[RoleName] = Field(
        default_factory=list,
        description="What the perturbation's part sees besides the latent; a role whose value was "
        "never perturbed in training counts as unknown there.",
    )
    unknown: float = Field(0.1, ge=0, lt=1, description="Chance of dropping a code in training.")


class Perturbation(Config):
    """Shape of the perturbation adapter."""

    width: PositiveInt = Field(32, description="Width of a perturbation's vector.")
    dose: Literal["hill", "log", "hill_and_log"] = Field(
        "hill", description="Dose curve: saturating, logarithmic, or both (not monotone then)."
    )
    interaction: NonNegativeInt = Field(
        8, description="Rank of the term of two perturbations together; 0 for none."
    )


class Fields(Config):
    """Shape of the velocity network."""

    width: PositiveInt = Field(128, description="Hidden width.")
    layers: PositiveInt = Field(2, description="Residual layers.")
    basis: PositiveInt = Field(8, description="Fields that a perturbation combines.")
    state: float = Field(
        1.0,
        ge=0,
        le=1,
        description="How much of what depends on a cell's state is kept; 0 moves all cells alike, "
        "which is wiser where few groups show how a perturbation differs between them.",
    )
    dropout: float = Field(0.0, ge=0, lt=1, description="Dropout of the layers.")


class Coupling(Config):
    """Pairs of control and perturbed cells inside a matched context; for source `control`."""

    coupling: Literal["optimal", "random"] = Field(
        "optimal", description="Optimal transport of the latents, or random pairs (an ablation)."
    )
    rounds: PositiveInt = Field(
        8, description="Draws of the pairing, since the two sides differ in number."
    )
    size: PositiveInt = Field(1024, description="Most cells paired at once.")


class Anchor(Config):
    """What control cells and perturbed groups of the training data tell of generated means."""

    response: float = Field(
        0.5,
        ge=0,
        le=1,
        description="Weight of a ridge regression of groups' responses on their control profiles; "
        "the flow has the rest.",
    )
    control: float = Field(
        0.6,
        ge=0,
        le=1,
        description="Share of the decoder's error on control cells that is undone in generated "
        "ones.",
    )
    offset: PositiveFloat = Field(
        1.0, description="Counts per 1000 of a library below which a gene's level counts as low."
    )
    slope: float = Field(
        0.85,
        ge=0,
        le=1,
        description="How much of a context's peculiarity survives in the ridge: 1 if responses "
        "are shifts, 0 if perturbed cells are alike everywhere.",
    )
    penalty: PositiveFloat = Field(0.1, description="Penalty of that ridge.")
    cells: PositiveInt = Field(
        128, description="Control cells of each context on which means are taken."
    )


class CellFlowSettings(Config):
    """The generative process of the intrinsic latent."""

    source: Literal["control", "noise"] = Field(
        "control", description="Where the flow starts: at a control cell, or at noise."
    )
    path: Literal["linear", "trigonometric"] = Field(
        "linear", description="Interpolation between source and data; linear from a control cell."
    )
    context: Context = Field(default_factory=Context, description="Context of a cell.")
    perturbation: Perturbation = Field(
        default_factory=Perturbation, description="Perturbation adapter."
    )
    field: Fields = Field(default_factory=Fields, description="Velocity network.")
    coupling: Coupling = Field(default_factory=Coupling, description="Pairs of cells.")
    balance: float = Field(
        1.0, ge=0, le=1, description="0 weighs cells alike, 1 groups of context and condition."
    )
    anchor: Anchor | None = Field(
        default_factory=Anchor,
        description="Anchors of generated means; null for none, as on a stage 1 without counts.",
    )
    keep_noise: bool = Field(
        True,
        description="Carry an edited cell's count noise over by quantiles; off draws it again. "
        "Without counts: keep what of the cell's expression the code does not hold.",
    )
    time_sampling: Literal["uniform", "logit_normal"] = Field(
        "uniform", description="Law of the training times."
    )
    draws: PositiveInt = Field(1, description="Posterior draws and times of a cell in a batch.")
    energy_weight: NonNegativeFloat = Field(
        0.0, description="Weight of the energy distance between generated and true latents."
    )
    energy_steps: PositiveInt = Field(2, description="Euler steps of the cells generated for it.")

    @model_validator(mode="after")
    def _path_fits(self) -> Self:
        if self.source == "control" and self.path != "linear":
            raise ValueError("path must be linear for source control: other paths move the cell")
        return self


class PerturbStage2(CellFlowSettings):
    """Stage 2: a flow of the intrinsic latent, on a frozen first stage."""

    stage1: NodeName = Field(description="The stage1 node whose latents are modelled.")
    training: Training = Field(
        default_factory=lambda: Training(batch_size=256), description="Optimisation."
    )


class PerturbJoint(CellFlowSettings):
    """Autoencoder and flow trained together: the flow's gradient reaches the encoder."""

    dataset: NodeName = Field(description="The dataset node to train on.")
    model: Literal["nb_vae"] = Field("nb_vae", description="Architecture of the autoencoder.")
    network: Autoencoder = Field(
        default_factory=Autoencoder, description="Shape of the autoencoder."
    )
    prior: Prior = Field(default_factory=Prior, description="The latents' prior laws.")
    independence: Independence = Field(
        default_factory=Independence, description="Separation of the latents."
    )
    flow_weight: NonNegativeFloat = Field(
        10.0, description="Weight of the flow's loss beside the autoencoder's, in nats a cell."
    )
    flow_warmup: float = Field(
        0.3, ge=0, le=1, description="Share of the steps during which that weight rises from 0."
    )
    vae_learning_rate: PositiveFloat = Field(
        1.0, description="Autoencoder's learning rate, as a multiple of the flow's."
    )
    training: Training = Field(
        default_factory=lambda: Training(batch_size=256), description="Optimisation."
    )

    @field_validator("model", mode="before")
    @classmethod
    def _trainable(cls, model: object) -> object:
        if model == "pca":
            raise ValueError(
                "components in closed form have no gradient to be trained by; use a stage1 node "
                "with model pca and a stage2 node on it"
            )
        return model
