"""Class-conditional Gaussians and mixtures of them, in closed form, and training images as samples.

Of the former there are density, denoiser and draws; the latter are a ceiling, real against real.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import torch
from torch import Tensor

from weir.tasks.image.baselines.fitted import Fitted
from weir.tasks.image.density.class_gaussians import ClassGaussians

if TYPE_CHECKING:
    from weir.tasks.image.data.load import ImageData
    from weir.tasks.image.data.schema import Schema
    from weir.tasks.image.settings.baseline import ImageBaseline


KEPT = 2000
"""Most images of a class that are kept, evenly spaced."""


class TrainingImages(Fitted):
    """Samples of a class are training images of it, each at most once if there are enough."""

    def __init__(self, schema: Schema) -> None:
        super().__init__(schema)
        kind = torch.float32 if self.scale.levels is None else torch.uint8
        self.store(raw=torch.empty(0, *self.shape, dtype=kind), label=torch.empty(0).long())

    def fit(self, data: ImageData, seed: int) -> None:
        """Keep the images."""
        train = data.split("train")
        rows = []
        for label in range(self.classes):
            own = (train.label == label).nonzero()[:, 0]
            kept = torch.linspace(0, len(own) - 1, min(KEPT, len(own)), device=own.device)
            rows.append(own[kept.long()])
        chosen = torch.cat(rows)
        self.store(raw=train.raw[chosen], label=train.label[chosen])

    def draw_class(self, label: int, draws: int, generator: torch.Generator | None) -> Tensor:
        """See `Fitted.draw_class`; dequantised again."""
        own = (self.label == label).nonzero()[:, 0]
        # More draws than images: as many rounds through all of them as it takes.
        rounds = [
            torch.randperm(len(own), generator=generator, device=own.device)
            for _ in range(-(-draws // len(own)))
        ]
        raw = self.raw[own[torch.cat(rounds)[:draws]]].float()
        return self.scale.unit(raw, torch.rand(raw.shape, generator=generator, device=raw.device))


class Gaussians(Fitted):
    """A mixture of low-rank Gaussians for each class, on the event scale.

    Args:
        schema: of the data.
        config: the node; of method `gaussian`, a class has one Gaussian of (almost) full rank.
    """

    has_density: ClassVar[bool] = True
    has_denoiser: ClassVar[bool] = True

    def __init__(self, schema: Schema, config: ImageBaseline) -> None:
        super().__init__(schema)
        self.config = config
        size = int(torch.Size(self.shape).numel())
        self.laws = ClassGaussians(size, schema.priors)

    def fit(self, data: ImageData, seed: int) -> None:
        """Fit every class by its training items, dequantised once."""
        train, config = data.split("train"), self.config
        raw = train.raw.cpu().float()
        noise = torch.rand(raw.shape, generator=torch.Generator().manual_seed(seed))
        events = self.scale.event(self.scale.unit(raw, noise)).flatten(1)
        self.laws.fit(
            events,
            train.label,
            components=1 if config.method == "gaussian" else config.components,
            rank=config.rank,
            prior=config.prior,
            steps=config.steps,
            floor=self.scale.least_variance,
            seed=seed,
        )

    def draw_class(self, label: int, draws: int, generator: torch.Generator | None) -> Tensor:
        """See `Fitted.draw_class`; one pass."""
        events = self.laws.law(label).sample(draws, generator)
        return self.scale.to_unit(events).reshape(draws, *self.shape)

    def log_prob(self, unit: Tensor, label: Tensor | None = None) -> Tensor:
        """Log density `[item]` of images on the unit scale, nats.

        Args:
            unit: `[item, *shape]`.
            label: `[item]` classes given; None for the law over all of them.
        """
        found = self.log_density(self.scale.event(unit), unit.new_zeros(len(unit)), label)
        return found + unit[0].numel() * self.scale.log_volume

    def log_density(self, event: Tensor, sigma: Tensor, label: Tensor | None = None) -> Tensor:
        """Log density `[item]` of images with noise, event scale; arguments as of `denoise`."""
        return self.laws.log_prob(event.flatten(1), sigma, label)

    def denoise(self, event: Tensor, sigma: Tensor, label: Tensor | None = None) -> Tensor:
        """Mean of what noisy images were, event scale, of their shape.

        Args:
            event: `[item, *shape]`.
            sigma: `[item]` deviation of their noise.
            label: `[item]` classes given; None for the law over all of them.
        """
        return self.laws.denoise(event.flatten(1), sigma, label).reshape(event.shape)
