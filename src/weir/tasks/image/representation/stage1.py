"""Stage 1 of the image task: the pixels as they are, or the latents of an autoencoder."""

from __future__ import annotations

from typing import TYPE_CHECKING

from weir.tasks.image.data.scale import Scale
from weir.tasks.image.representation.code import ImageCode, PixelCode
from weir.tasks.image.representation.vae import ConvolutionalVAE, VAEObjective

if TYPE_CHECKING:
    from weir.tasks.image.data.load import ImageSet
    from weir.tasks.image.data.schema import Schema
    from weir.tasks.image.settings.models import ImageStage1


def build(config: ImageStage1, schema: Schema) -> ImageCode:
    """An untrained first stage of the shape that a node states, for data of a schema.

    Raises:
        UserError: an autoencoder is to code points.
    """
    scale = Scale.of(schema)
    match config.model:
        case "pixels":
            return PixelCode(schema.shape, scale)
        case "vae":
            network = config.network.model_dump(exclude={"beta"})
            return ConvolutionalVAE(schema.shape, scale, **network)


def prepare(model: ImageCode, config: ImageStage1, data: ImageSet) -> None:
    """Nothing is fitted beforehand."""


def objective(config: ImageStage1, model: ImageCode) -> VAEObjective | None:
    """What stage 1 minimises; None for the pixels, of which nothing is trained."""
    match config.model:
        case "vae":
            return VAEObjective(model, config.network.beta)
        case _:
            return None
