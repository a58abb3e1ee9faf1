"""Toys along arcs: Gaussian noise around a curve, its density by quadrature along the curve."""

from __future__ import annotations

import math
from abc import abstractmethod
from functools import cache

import numpy as np
import torch
from torch import Tensor

from weir.tasks.image.toy_law import CHUNK, ToyLaw

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
