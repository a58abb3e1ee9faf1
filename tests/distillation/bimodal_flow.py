"""A flow from noise to two modes: its velocity and its map between any two times in closed form."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from weir.flows.model import FlowModel
from weir.flows.paths import Path, expand_time


class Mode(NamedTuple):
    """`mode`: `[condition, size]`, data lie around it and around its mirror image."""

    mode: Tensor


class Modes:
    """Conditions whose modes have several directions and distances from 0."""

    def __init__(self, count: int = 64, size: int = 2) -> None:
        direction = torch.randn(count, size, generator=torch.Generator().manual_seed(0))
        distance = torch.linspace(1.2, 2.4, count)[:, None]
        self.mode = direction / direction.norm(dim=1, keepdim=True) * distance

    def __len__(self) -> int:
        return len(self.mode)

    def to(self, device: object) -> Modes:
        return self

    def batch(self, items: Tensor) -> Mode:
        return Mode(self.mode[items])


class Bimodal(FlowModel):
    """Exact flow of the data `+-mode + 0.3 e`, linear path.

    One Euler step leads all noise to 0, between the modes.
    """

    path = Path("linear")
    spread = 0.3

    def __init__(self, size: int = 2) -> None:
        super().__init__()
        self.event = (size,)

    def condition(self, batch: Mode) -> Mode:
        return batch

    def colour(self, white: Tensor, condition: Mode) -> Tensor:
        return white

    def decode(self, x: Tensor, condition: Mode) -> Tensor:
        return x

    def deviation(self, t: Tensor) -> Tensor:
        """Of `x_t` around a mode."""
        return ((t * self.spread) ** 2 + (1 - t) ** 2).sqrt()

    def velocity(self, x: Tensor, t: Tensor, condition: Mode, step: Tensor | None = None) -> Tensor:
        t, mode = expand_time(t.to(x), x), condition.mode[:, None]
        variance = self.deviation(t) ** 2
        nearer = torch.tanh(t * (x * mode).sum(-1, keepdim=True) / variance) * mode
        return nearer + (t * self.spread**2 - (1 - t)) / variance * (x - t * nearer)


class ExactStudent(Bimodal):
    """The exact mean velocity over a step.

    Across the modes' line x keeps its quantile of one Gaussian, along it of a mixture of two,
    because an equation in one dimension cannot change the order of its solutions.
    """

    student = True

    def velocity(self, x: Tensor, t: Tensor, condition: Mode, step: Tensor | None = None) -> Tensor:
        assert step is not None
        r, end = expand_time(t.to(x), x), expand_time((t + step).to(x), x)
        mode = condition.mode[:, None].to(x)
        distance = mode.norm(dim=-1, keepdim=True)
        direction = mode / distance
        along = (x * direction).sum(-1, keepdim=True)
        across = (x - along * direction) * self.deviation(end) / self.deviation(r)
        # In the lower half, where the probability is precise.
        lower = -along.abs()
        wanted = self._probability(lower, r, distance)
        low, high = torch.full_like(lower, -20).detach(), torch.zeros_like(lower).detach()
        for _ in range(60):
            middle = (low + high) / 2
            below = (self._probability(middle, end, distance) < wanted).detach()
            low, high = torch.where(below, middle, low), torch.where(below, high, middle)
        found = ((low + high) / 2).detach()
        # A step of Newton's, which has the derivatives of the root.
        excess = self._probability(found, end, distance) - wanted
        found = found - excess / self._density(found, end.detach(), distance)
        there = -torch.sign(along) * found * direction + across
        return (there - x) / (end - r)

    def _scores(self, x: Tensor, t: Tensor, distance: Tensor) -> tuple[Tensor, Tensor]:
        deviation = self.deviation(t)
        return (x - t * distance) / deviation, (x + t * distance) / deviation

    def _probability(self, x: Tensor, t: Tensor, distance: Tensor) -> Tensor:
        return sum(torch.erfc(-z / 2**0.5) for z in self._scores(x, t, distance)) / 4

    def _density(self, x: Tensor, t: Tensor, distance: Tensor) -> Tensor:
        scores = self._scores(x, t, distance)
        return sum((-(z**2) / 2).exp() for z in scores) / (8 * torch.pi) ** 0.5 / self.deviation(t)
