"""The law of a toy's points: its density, score and samples, exact at every noise level.

All coordinates and sigmas here are the toy's own (the unit scale); a sigma of the event scale is
`spread / SIGMA_DATA` times as large here.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod

import torch
from torch import Tensor

CHUNK = 1 << 20
"""Distances computed at a time."""


class ToyLaw(ABC):
    """A law on the plane, a mixture of classes of equal weight.

    Attributes:
        classes: names of the classes.
        noise: standard deviation of the points' own noise.
        extent: half the side of a square around 0 that holds all but about 1e-9 of the points.
    """

    classes: tuple[str, ...]

    def __init__(self, noise: float) -> None:
        self.noise = noise

    @property
    def extent(self) -> float:
        """Half the side of a square around 0 outside which there is next to nothing."""
        return self.reach + 6 * self.noise

    @property
    @abstractmethod
    def reach(self) -> float:
        """Largest absolute coordinate of a point without noise."""

    @abstractmethod
    def clean(self, label: Tensor, generator: torch.Generator) -> Tensor:
        """Points without noise, `[point, 2]` float64, of classes `label` `[point]`."""

    @abstractmethod
    def log_prob_classes(self, points: Tensor, sigma: float = 0.0) -> Tensor:
        """Log density of each class at `points` `[point, 2]`, `[point, class]`, same dtype.

        Args:
            points: where.
            sigma: standard deviation of white noise that is added to the law.
        """

    def sample(self, label: Tensor, generator: torch.Generator) -> Tensor:
        """Points `[point, 2]` float64 of classes `label` `[point]`."""
        points = self.clean(label, generator)
        noise = torch.randn(points.shape, generator=generator, dtype=torch.float64)
        return points + self.noise * noise

    def log_prob(self, points: Tensor, label: Tensor | None = None, sigma: float = 0.0) -> Tensor:
        """Log density `[point]` in nats, in float64 inside; -inf where there is nothing.

        Args:
            points: `[point, 2]`.
            label: `[point]` classes given; None for the law over all of them.
            sigma: standard deviation of white noise that is added to the law.
        """
        each = self.log_prob_classes(points.double(), sigma)
        if label is None:
            total = torch.logsumexp(each, 1) - math.log(len(self.classes))
        else:
            total = each.gather(1, label.to(each.device)[:, None])[:, 0]
        return total.to(points.dtype)

    def classify(self, points: Tensor, sigma: float = 0.0) -> Tensor:
        """Log probability of each class given `points` `[point, 2]`, `[point, class]`.

        Where no class has any density, all are as likely.
        """
        each = self.log_prob_classes(points.double(), sigma)
        nowhere = torch.isneginf(each).all(1, keepdim=True)
        return torch.log_softmax(each.masked_fill(nowhere, 0.0), 1).to(points.dtype)

    def score(self, points: Tensor, label: Tensor | None = None, sigma: float = 0.0) -> Tensor:
        """Gradient of `log_prob` at `points`, `[point, 2]`; 0 where the density is flat."""
        with torch.enable_grad():
            leaf = points.detach().double().requires_grad_()
            total = self.log_prob(leaf, label, sigma).sum()
            if not total.requires_grad:
                return torch.zeros_like(points)
            (slope,) = torch.autograd.grad(total, leaf)
        return slope.to(points.dtype)

    def denoise(self, points: Tensor, sigma: float, label: Tensor | None = None) -> Tensor:
        """Expected clean point given noisy ones `[point, 2]`, by Tweedie's formula."""
        return points + sigma**2 * self.score(points, label, sigma)
