"""The `stage1` nodes of the image task."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, NonNegativeFloat, PositiveInt, model_validator

from weir.config.base import Config, NodeName
from weir.config.training import Training


class Autoencoder(Config):
    """Shape and prior of the convolutional autoencoder."""

    channels: PositiveInt = Field(4, description="Channels of a latent.")
    width: PositiveInt = Field(32, description="Channels at full resolution.")
    halvings: PositiveInt = Field(2, description="How often each side of a picture is halved.")
    beta: NonNegativeFloat = Field(
        0.1, description="Weight of the divergence from the prior; 1 is the evidence bound."
    )


class ImageStage1(Config):
    """Stage 1: the space in which the generative model lives."""

    dataset: NodeName = Field(description="The dataset node to train on.")
    model: Literal["pixels", "vae"] = Field(
        "pixels",
        description="The pixels themselves (nothing is trained), or the latents of a convolutional "
        "variational autoencoder (an ablation: densities of latents are none of pictures).",
    )
    network: Autoencoder = Field(
        default_factory=Autoencoder, description="For `vae`: the autoencoder."
    )
    training: Training = Field(default_factory=Training, description="For `vae`: optimisation.")

    @property
    def seeded(self) -> bool:
        """Whether another seed would give another model."""
        return self.model != "pixels"

    @model_validator(mode="after")
    def _of_the_model(self) -> Self:
        for name in ("network", "training"):
            default = type(self).model_fields[name].get_default(call_default_factory=True)
            if self.model == "pixels" and getattr(self, name) != default:
                raise ValueError(f"{name} is for model vae only; remove it")
        return self
