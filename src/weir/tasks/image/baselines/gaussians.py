"""Class-conditional Gaussians, and mixtures of them: density, denoiser and draws in closed form."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor

from weir.tasks.image.baselines import expectation
from weir.tasks.image.baselines.fitted import Fitted
from weir.tasks.image.baselines.low_rank import LowRank
from weir.tasks.image.scale import SIGMA_DATA

if TYPE_CHECKING:
    from weir.tasks.image.baseline_config import ImageBaseline
    from weir.tasks.image.data import ImageData

RANK = 512
"""Directions of their own variance of the single Gaussian of a class."""


class Gaussians(Fitted):
    """A mixture of low-rank Gaussians for each class, on the event scale.

    Args:
        schema: of the data, as in a model's card.
        config: the node; of method `gaussian`, a class has one Gaussian of (almost) full rank.
    """

    has_density: ClassVar[bool] = True
    has_denoiser: ClassVar[bool] = True

    def __init__(self, schema: Mapping[str, Any], config: ImageBaseline) -> None:
        super().__init__(schema)
        self.config = config
        size = int(torch.Size(self.shape).numel())
        self.hold(
            owner=torch.zeros(0).long(),
            log_weight=torch.zeros(0),
            mean=torch.zeros(0, size),
            basis=torch.zeros(0, size, 0),
            variance=torch.zeros(0, 0),
            rest=torch.zeros(0),
            log_prior=torch.tensor(schema["priors"]).log(),
        )

    def fit(self, data: ImageData, seed: int) -> None:
        """Fit every class by its training items, dequantised once."""
        train, config = data.split("train"), self.config
        raw = train.raw.cpu().float()
        noise = torch.rand(raw.shape, generator=torch.Generator().manual_seed(seed))
        events = self.scale.event(self.scale.unit(raw, noise)).flatten(1)
        classes = [events[train.label.cpu() == label] for label in range(self.classes)]
        moments = expectation.shrunken(classes, config.prior)
        floor = self._floor()
        if config.method == "gaussian":
            laws = [expectation.gaussian(each, RANK, floor) for each in moments]
        else:
            laws = [
                expectation.mixture(
                    items,
                    each,
                    components=config.components,
                    rank=config.rank,
                    prior=config.prior,
                    steps=config.steps,
                    seed=seed,
                    floor=floor,
                )
                for items, each in zip(classes, moments, strict=True)
            ]
        owner = [torch.full((len(law.mean),), label) for label, law in enumerate(laws)]
        parts = {name: torch.cat([getattr(law, name) for law in laws]) for name in LowRank._fields}
        self.hold(owner=torch.cat(owner), **{name: part.float() for name, part in parts.items()})

    def _floor(self) -> float:
        """Half of the variance that dequantisation adds to each pixel; a token one for a toy."""
        if self.scale.levels is None:
            return 1e-6
        return (2 / self.scale.levels * SIGMA_DATA / self.scale.spread) ** 2 / 24

    def law(self, label: int | None) -> LowRank:
        """Of one class, or of all of them by their shares."""
        every = LowRank(*(getattr(self, name) for name in LowRank._fields))
        if label is None:
            return every._replace(log_weight=every.log_weight + self.log_prior[self.owner])
        return LowRank(*(part[self.owner == label] for part in every))

    def draw_class(self, label: int, draws: int, generator: torch.Generator | None) -> Tensor:
        """See `Fitted.draw_class`; one pass."""
        events = self.law(label).sample(draws, generator)
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
        return self._each(LowRank.log_prob, event, sigma, label)

    def denoise(self, event: Tensor, sigma: Tensor, label: Tensor | None = None) -> Tensor:
        """Mean of what noisy images were, event scale, of their shape.

        Args:
            event: `[item, *shape]`.
            sigma: `[item]` deviation of their noise.
            label: `[item]` classes given; None for the law over all of them.
        """
        return self._each(LowRank.denoise, event, sigma, label).reshape(event.shape)

    def _each(self, function: Any, event: Tensor, sigma: Tensor, label: Tensor | None) -> Tensor:
        """A function of law, points and sigma, class by class."""
        points = event.flatten(1)
        if label is None:
            return function(self.law(None), points, sigma)
        found = None
        for each in label.unique().tolist():
            some = label == each
            part = function(self.law(each), points[some], sigma[some])
            if found is None:
                found = part.new_empty(len(points), *part.shape[1:])
            found[some] = part
        return points.new_zeros(0) if found is None else found
