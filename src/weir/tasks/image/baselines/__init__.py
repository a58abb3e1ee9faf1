"""Baselines: what a generative model of pictures has to beat, and the ceiling.

| method | samples of a class | density | denoiser |
|---|---|---|---|
| `training_images` | training images of it: a ceiling | | |
| `gaussian` | one Gaussian, covariance shrunk to the classes' pooled one | yes | Wiener filter |
| `mixture` | a mixture of probabilistic principal components, by EM | yes | yes |

Each is an `nn.Module` with what `image_model.ImageModel` asks and with `fit`, whose state is all
that a model folder has to hold.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from weir.tasks.image.baselines.fitted import Fitted
from weir.tasks.image.baselines.gaussians import Gaussians, TrainingImages

if TYPE_CHECKING:
    from weir.tasks.image.data.schema import Schema
    from weir.tasks.image.settings.baseline import ImageBaseline

__all__ = ["Fitted", "Gaussians", "TrainingImages", "build"]


def build(config: ImageBaseline, schema: Schema) -> Fitted:
    """An unfitted baseline.

    Args:
        config: its node.
        schema: of the data.
    """
    match config.method:
        case "training_images":
            return TrainingImages(schema)
        case "gaussian" | "mixture":
            return Gaussians(schema, config)
