"""Training images as samples: a ceiling, real against real."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from weir.tasks.image.baselines.fitted import Fitted

if TYPE_CHECKING:
    from weir.tasks.image.data import ImageData

KEPT = 2000
"""Most images of a class that are kept, evenly spaced."""


class TrainingImages(Fitted):
    """Samples of a class are training images of it, each at most once if there are enough."""

    def __init__(self, schema: Mapping[str, Any]) -> None:
        super().__init__(schema)
        kind = torch.float32 if self.scale.levels is None else torch.uint8
        self.hold(raw=torch.empty(0, *self.shape, dtype=kind), label=torch.empty(0).long())

    def fit(self, data: ImageData, seed: int) -> None:
        """Keep the images."""
        train = data.split("train")
        rows = []
        for label in range(self.classes):
            own = (train.label == label).nonzero()[:, 0]
            kept = torch.linspace(0, len(own) - 1, min(KEPT, len(own)), device=own.device)
            rows.append(own[kept.long()])
        chosen = torch.cat(rows)
        self.hold(raw=train.raw[chosen], label=train.label[chosen])

    def draw_class(self, label: int, draws: int, generator: torch.Generator | None) -> Tensor:
        """See `Fitted.draw_class`; dequantised anew."""
        own = (self.label == label).nonzero()[:, 0]
        # More draws than images: as many rounds through all of them as it takes.
        rounds = [
            torch.randperm(len(own), generator=generator, device=own.device)
            for _ in range(-(-draws // len(own)))
        ]
        raw = self.raw[own[torch.cat(rounds)[:draws]]].float()
        return self.scale.unit(raw, torch.rand(raw.shape, generator=generator, device=raw.device))
