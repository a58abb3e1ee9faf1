"""The `stage1` nodes of the perturbation task."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveInt, model_validator

from weir.config.base import Config, NodeName
from weir.config.training import Training


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
