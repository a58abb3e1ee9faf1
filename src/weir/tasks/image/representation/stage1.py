"""Stage 1 of the image task: the pixels as they are, or the latents of an autoencoder."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from weir.tasks.image.data.scale import Scale
from weir.tasks.image.representation.code import ImageCode, PixelCode
from weir.tasks.image.representation.vae import ConvolutionalVAE, VAEObjective

if TYPE_CHECKING:
    from weir.artifacts.model_folder import ModelCard
    from weir.tasks.image.data.load import ImageSet
    from weir.tasks.image.settings.models import ImageStage1


def build(card: ModelCard) -> ImageCode:
    """An untrained first stage of the shape that the card of a stage1 node states.

    Raises:
        UserError: an autoencoder is to code points.
    """
    shape, scale = tuple(card.schema["shape"]), Scale.of(card.schema)
    if card.config["model"] == "pixels":
        return PixelCode(shape, scale)
    settings: dict[str, Any] = dict(card.config["network"])
    settings.pop("beta")
    return ConvolutionalVAE(shape, scale, **settings)


def prepare(model: ImageCode, config: ImageStage1, data: ImageSet) -> None:
    """Nothing is fitted beforehand."""


def objective(config: ImageStage1, model: ImageCode) -> VAEObjective | None:
    """What stage 1 minimises; None for the pixels, of which nothing is trained."""
    if isinstance(model, ConvolutionalVAE):
        return VAEObjective(model, config.network.beta)
    return None
