"""Laws of toys by the settings that name them.

Squares and Gaussians have a density in closed form at every noise level; of toys along arcs, which
are Gaussian noise around a curve, it is a quadrature along the curve.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Mapping
from functools import cache
from typing import Any

import numpy as np
import torch
from torch import Tensor

from weir.tasks.image.settings.simulator import Kind, Simulation
from weir.tasks.image.simulation.toy_law import CHUNK, ToyLaw


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


PANEL = 16
"""Nodes of Gauss and Legendre's rule on each piece of a curve."""

PIECES_PER_SD = 0.4
"""Pieces per standard deviation along the curve: 16 nodes then leave errors below 1e-12."""


class Arc(ToyLaw):
    """`p(x | c) = integral over t in [0, 1] of N(x; curve_c(t), noise^2)`."""

    length: float
    """Largest speed |curve'(t)|."""

    @abstractmethod
    def curve(self, t: Tensor) -> Tensor:
        """`[class, *t.shape, 2]` points at `t` in [0, 1], of the dtype of `t`."""

    def clean(self, label: Tensor, generator: torch.Generator) -> Tensor:
        """Points at a uniform `t`."""
        t = torch.rand(len(label), generator=generator, dtype=torch.float64)
        return self.curve(t)[label, torch.arange(len(label))]

    def log_prob_classes(self, points: Tensor, sigma: float = 0.0) -> Tensor:
        """Quadrature, with as many nodes as the noise asks for."""
        sd = math.hypot(self.noise, sigma)
        t, weight = nodes(math.ceil(PIECES_PER_SD * self.length / sd))
        t, weight = t.to(points.device), weight.to(points.device)
        centers = self.curve(t).to(points.dtype)
        constant = weight.log().to(points.dtype) - math.log(2 * math.pi * sd**2)
        rows = max(1, CHUNK // (len(t) * len(centers)))
        pieces = [
            torch.logsumexp(
                constant - (some[:, None, None] - centers).square().sum(-1) / (2 * sd**2), -1
            )
            for some in points.split(rows)
        ]
        return torch.cat(pieces)


class Moons(Arc):
    """Two interlocked half circles of radius 1, uniform along them."""

    classes = ("upper", "lower")
    length = math.pi
    reach = 1.5

    def curve(self, t: Tensor) -> Tensor:
        """The usual moons, centred: the upper one about (-.5, -.25), the lower one turned."""
        angle = math.pi * t
        upper = torch.stack([angle.cos() - 0.5, angle.sin() - 0.25], -1)
        return torch.stack([upper, -upper])


class Spirals(Arc):
    """Two arms of Archimedes' spiral, one and a half turns, about uniform along them."""

    classes = ("first", "second")
    turns = 1.5
    inner = 0.25
    """Share of the turns at which the arms begin."""
    reach = 2.0
    # The speed falls with the share of the turns: it is largest at the inner end.
    length = reach * (1 - inner**2) / 2 * math.hypot(1 / inner, 2 * math.pi * turns)

    def curve(self, t: Tensor) -> Tensor:
        """Arms `angle (cos, sin)`, with an angle whose square is uniform."""
        share = (self.inner**2 + (1 - self.inner**2) * t).sqrt()
        angle = 2 * math.pi * self.turns * share
        first = self.reach * share[..., None] * torch.stack([angle.cos(), angle.sin()], -1)
        return torch.stack([first, -first])


@cache
def nodes(pieces: int) -> tuple[Tensor, Tensor]:
    """Nodes in [0, 1] and weights that sum to 1, float64: Gauss and Legendre's rule on pieces."""
    x, w = np.polynomial.legendre.leggauss(PANEL)
    t = (np.arange(pieces)[:, None] + (x + 1) / 2) / pieces
    weight = np.broadcast_to(w / 2 / pieces, t.shape)
    return torch.from_numpy(t.ravel()), torch.from_numpy(weight.ravel().copy())


LAWS: dict[Kind, type[ToyLaw]] = {
    "moons": Moons,
    "spirals": Spirals,
    "checkerboard": Checkerboard,
    "mixture": Ring,
}


def law_of(truth: Mapping[str, Any]) -> ToyLaw:
    """The law that settings describe: `Schema.truth`, or a dumped `Simulation`."""
    settings = Simulation.model_validate(dict(truth))
    return LAWS[settings.kind](settings.sd)
