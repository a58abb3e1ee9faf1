"""Toys whose density is in closed form at every noise level: squares and Gaussians."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from weir.tasks.image.toy_law import ToyLaw


class Checkerboard(ToyLaw):
    """Uniform on the 8 black squares of a board of 4 x 4 on [-2, 2]^2; a column is a class."""

    classes = ("column 1", "column 2", "column 3", "column 4")
    reach = 2.0

    def clean(self, label: Tensor, generator: torch.Generator) -> Tensor:
        """A square of the column, then a place in it."""
        row = torch.randint(2, label.shape, generator=generator)
        corner = torch.stack([label, 2 * row + label % 2], -1).double() - 2
        return corner + torch.rand(corner.shape, generator=generator, dtype=torch.float64)

    def log_prob_classes(self, points: Tensor, sigma: float = 0.0) -> Tensor:
        """Log of the product of two differences of normal distribution functions."""
        sd = math.hypot(self.noise, sigma)
        low = torch.arange(-2.0, 2.0, device=points.device, dtype=points.dtype)
        inside = log_uniform(points[..., None], low, sd)
        across, along = inside[:, 0], inside[:, 1]
        rows = torch.stack([along[:, 0::2], along[:, 1::2]] * 2, 1)
        return across + torch.logsumexp(rows, -1) - math.log(2)


class Ring(ToyLaw):
    """Eight Gaussians of equal weight on a circle of radius 1.5; every other one is of a class."""

    classes = ("even", "odd")
    count = 8
    radius = 1.5
    reach = radius

    def centers(self) -> Tensor:
        """`[class, component, 2]` float64."""
        angle = 2 * math.pi / self.count * torch.arange(self.count, dtype=torch.float64)
        ring = self.radius * torch.stack([angle.cos(), angle.sin()], -1)
        return torch.stack([ring[0::2], ring[1::2]])

    def clean(self, label: Tensor, generator: torch.Generator) -> Tensor:
        """The middle of one of the class's Gaussians."""
        half = self.count // 2
        return self.centers()[label, torch.randint(half, label.shape, generator=generator)]

    def log_prob_classes(self, points: Tensor, sigma: float = 0.0) -> Tensor:
        """Log of a mean of four Gaussians."""
        variance = self.noise**2 + sigma**2
        centers = self.centers().to(points)
        squares = (points[:, None, None] - centers).square().sum(-1)
        each = torch.logsumexp(-squares / (2 * variance), -1)
        return each - math.log(2 * math.pi * variance * centers.shape[1])


def log_uniform(x: Tensor, low: Tensor, sd: float) -> Tensor:
    """Log density of a uniform number in [low, low + 1) plus Gaussian noise; exact in the tails.

    `log(Phi(b) - Phi(a))` is taken on the side where both are small, so that nothing cancels.
    """
    if sd == 0:
        inside = (x >= low) & (x < low + 1)
        return torch.where(inside, 0.0, -math.inf).to(x.dtype)
    # Symmetric about the middle; with the middle above x, both limits lie in the upper tail of -.
    away = (x - low - 0.5).abs()
    near, far = (0.5 - away) / sd, (-0.5 - away) / sd
    upper, lower = torch.special.log_ndtr(near), torch.special.log_ndtr(far)
    return upper + torch.log(-torch.expm1(lower - upper))
