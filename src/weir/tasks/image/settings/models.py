"""Nodes of params.yaml for the image task's models: `stage1`, `stage2` and the latter's blocks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, Self

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


class Noise(Config):
    """Noises of training and sampling, on the event scale (data of standard deviation .5)."""

    p_mean: float = Field(-1.2, description="Mean of ln sigma in training.")
    p_std: PositiveFloat = Field(1.2, description="Standard deviation of ln sigma in training.")
    sigma_min: PositiveFloat = Field(0.002, description="Least noise of the samplers but 0.")
    sigma_max: PositiveFloat = Field(80.0, description="Noise at which sampling begins.")
    rho: PositiveFloat = Field(7.0, description="Exponent of the samplers' grid.")

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.sigma_min >= self.sigma_max:
            raise ValueError("sigma_min must be below sigma_max")
        return self


class Neighbours(Config):
    """A network of the pixels near each one, the same everywhere."""

    radius: PositiveInt = Field(3, description="Pixels that it sees to each side.")
    width: PositiveInt = Field(64, description="Its hidden units at each pixel.")


class Coarse(Config):
    """Mixtures of low-rank Gaussians of each class, in closed form at every noise."""

    above: PositiveFloat = Field(
        0.8, description="Noise, event scale, from which on they are the density."
    )
    components: int = Field(30, ge=2, description="Gaussians of a class.")
    rank: PositiveInt = Field(48, description="Directions in which each has its own variance.")


class DensitySettings(Config):
    """Shape of the normalising flow."""

    transform: Literal["mixture", "affine", "gaussianization", "sos", "spline"] = Field(
        "mixture",
        description="Map of each coordinate: affine, with mixtures of Gaussians in the last layer "
        "for `mixture`; mixtures of logistic laws or sums of squares, which are smooth; "
        "rational-quadratic splines, whose score jumps.",
    )
    coupling: bool = Field(
        False,
        description="Half of the coordinates given the other half, so that drawing costs one pass; "
        "otherwise autoregressive, a pass for each coordinate.",
    )
    layers: PositiveInt = Field(1, description="Maps that follow each other.")
    hidden: list[PositiveInt] = Field(
        default_factory=lambda: [256, 256],
        min_length=1,
        description="Widths of each map's network; of `mixture` the first is the width, and each "
        "further one a residual block.",
    )
    activation: Literal["silu", "gelu", "tanh", "softplus", "relu"] = Field(
        "silu", description="Between them; with `relu` the score jumps."
    )
    components: PositiveInt = Field(
        8, ge=2, description="Components of a mixture, bins of a spline, polynomials of a sum."
    )
    embedding: PositiveInt = Field(64, description="Width of the vector of noise and class.")
    dropout: float = Field(0.0, ge=0, lt=1, description="Dropout of the hidden units of `mixture`.")
    convolved: bool = Field(
        False,
        description="Components of a `mixture` are those of the data, widened by the noise in "
        "closed form, and begin with what each pixel follows by itself; else all is learnt.",
    )
    levels: NonNegativeInt = Field(
        0,
        description="For `convolved` on pixels: number of grey levels, the most frequent, that "
        "have a component of their own, uniform in the level's cell; 0 for none.",
    )
    neighbours: Neighbours | None = Field(
        None,
        description="For `mixture` of pictures: a second network, the same everywhere, makes each "
        "pixel's law of the pixels near it and before it, and of what the first one tells; null "
        "for none.",
    )

    coarse: Coarse | None = Field(
        None,
        description="At high noise, where all that is left of pictures are rough shapes, the "
        "density is a mixture of low-rank Gaussians for each class, fitted by EM, and the flow is "
        "trained below only; null: the flow at all noises.",
    )

    @model_validator(mode="after")
    def _of_mixtures(self) -> Self:
        if self.transform != "mixture" and (self.neighbours or self.convolved):
            raise ValueError(
                "neighbours and convolved are for transform mixture; remove them from "
                f"{self.transform}"
            )
        if self.levels and not (self.convolved and self.layers == 1):
            raise ValueError("levels needs convolved: true and one layer, whose values are pixels")
        return self


class PlainSettings(Config):
    """Shape of the plain flow of linear maps and one activation."""

    activation: Literal["softplus", "leaky_relu", "elu", "tanh", "swish"] = Field(
        "leaky_relu", description="Between the linear maps."
    )
    leak: float = Field(
        0.2,
        gt=0,
        le=1,
        description="Share of the identity, which makes the activation invertible and onto; above "
        ".0908 for swish.",
    )
    layers: PositiveInt = Field(3, description="Activations.")
    conditional: bool = Field(True, description="Tell it the class.")

    @model_validator(mode="after")
    def _invertible(self) -> Self:
        if self.activation == "swish" and self.leak <= 0.0908:
            raise ValueError("leak must be above .0908 for swish, which is not increasing else")
        return self


class NetworkSettings(Config):
    """Shape of a network of pictures."""

    kind: Literal["unet", "mlp"] = Field(
        "unet", description="UNet for pictures, modulated MLP for small pictures and points."
    )
    width: PositiveInt = Field(32, description="Channels at full resolution, or hidden width.")
    layers: PositiveInt = Field(1, description="Blocks at each resolution, or residual layers.")
    multiples: list[PositiveInt] = Field(
        default_factory=lambda: [1, 2, 2],
        description="For `unet`: channels at each halved resolution, as multiples of `width`.",
    )
    attention: bool = Field(True, description="For `unet`: at the lowest resolution.")
    context: PositiveInt = Field(32, description="Width of the class's vector.")
    dropout: float = Field(0.0, ge=0, lt=1, description="Dropout of the blocks.")


class Weights(Config):
    """Loss of the score flow."""

    likelihood: NonNegativeFloat = Field(
        1.0, description="Weight of the negative log-likelihood at all noises."
    )
    matching: NonNegativeFloat = Field(
        1.0, description="Weight of denoising score matching with EDM's weights."
    )
    clean: float = Field(
        0.2, ge=0, lt=1, description="Share of the items shown without noise, for bits per pixel."
    )

    @model_validator(mode="after")
    def _some(self) -> Self:
        if self.likelihood == 0 and self.matching == 0:
            raise ValueError("likelihood or matching must be above 0")
        return self


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

    def check_against_upstream(self, above: Sequence[Config]) -> None:
        """Components of grey levels are for pixels only."""
        if self.density.levels and getattr(above[0], "model", "") != "pixels":
            raise ValueError(
                "density.levels: only pixels have grey levels; leave it out, or build on a stage1 "
                "node of model pixels"
            )


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
