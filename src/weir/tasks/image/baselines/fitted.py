"""Fitted baselines of pictures: no network, no steps, and a state that fitting sizes."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import torch
from torch import Tensor

from weir.networks.fitted import FittedModule
from weir.tasks.image.data.scale import Scale

if TYPE_CHECKING:
    from weir.tasks.image.data.load import ImageData, Images
    from weir.tasks.image.data.schema import Schema


class Fitted(FittedModule):
    """A baseline whose buffers take their shapes from the data, or from saved weights.

    It is an `image_model.ImageModel` without a code: it lives on the scales of the data.

    Args:
        schema: of the data.
    """

    guidable: ClassVar[bool] = False
    guidance: float = 0.0
    direct_sigma: float = 0.0
    code: ClassVar[None] = None
    has_density: ClassVar[bool] = False
    has_denoiser: ClassVar[bool] = False

    def __init__(self, schema: Schema) -> None:
        super().__init__()
        self.shape = schema.shape
        self.classes = len(schema.classes)
        self.scale = Scale.of(schema)

    def fit(self, data: ImageData, seed: int) -> None:
        """Take what is needed from the training items."""
        raise NotImplementedError

    def draw_class(self, label: int, draws: int, generator: torch.Generator | None) -> Tensor:
        """Samples of a class, unit scale, `[draw, *shape]`."""
        raise NotImplementedError

    def draw(
        self,
        batch: Images,
        draws: int,
        *,
        steps: int | None = None,
        solver: str | None = None,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """Samples `[item, draw, *shape]`, unit scale; there are no steps."""
        labels = batch.label.tolist()
        return torch.stack([self.draw_class(label, draws, generator) for label in labels])

    def nfe(self, steps: int | None = None, solver: str | None = None) -> int:
        """No network is called."""
        return 0
