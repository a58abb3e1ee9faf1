"""The three scales of a picture, and how densities on them hang together.

*raw*: levels 0 to `levels - 1` of a picture's pixels, or a toy's plain coordinates. *unit*: what a
user sees and what is scored, `2 (raw + u) / levels - 1` in [-1, 1] with `u` uniform in [0, 1)
(dequantised; .5 without noise); of a toy, the coordinates themselves. *event*: what models see,
`(unit - center) / spread * SIGMA_DATA`. All noise levels sigma are in event units.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from weir.tasks.image.data.schema import Schema

SIGMA_DATA = 0.5
"""Standard deviation of the training pixels on the event scale, as in EDM (Karras et al. 2022)."""


@dataclass(frozen=True)
class Scale:
    """Maps between raw, unit and event scale, all elementwise.

    Attributes:
        levels: number of levels of a pixel, or None for a toy's coordinates.
        center: mean of the training pixels, unit scale.
        spread: their standard deviation, unit scale, dequantisation included.
    """

    levels: int | None
    center: float
    spread: float

    @classmethod
    def of(cls, schema: Schema) -> Scale:
        """The scale of the data of a schema."""
        return cls(schema.levels, schema.center, schema.spread)

    def unit(self, raw: Tensor, noise: Tensor | None = None) -> Tensor:
        """Raw to unit.

        Args:
            raw: levels as floats, or coordinates.
            noise: uniform in [0, 1), of the same shape; None takes the middle of each level's cell.
                Coordinates are left as they are.
        """
        if self.levels is None:
            return raw
        return 2 * (raw + (0.5 if noise is None else noise)) / self.levels - 1

    def dequantise(self, raw: Tensor) -> Tensor:
        """Raw to unit, uniform within each level's cell by torch's global generator."""
        return self.unit(raw, None if self.levels is None else torch.rand_like(raw))

    def quantise(self, unit: Tensor) -> Tensor:
        """Unit to the raw level whose cell it lies in, drawn in to 0 and `levels - 1`."""
        if self.levels is None:
            return unit
        return ((unit + 1) * (self.levels / 2)).floor().clamp(0, self.levels - 1)

    def event(self, unit: Tensor) -> Tensor:
        """Unit to event."""
        return (unit - self.center) * (SIGMA_DATA / self.spread)

    def to_unit(self, event: Tensor) -> Tensor:
        """Event to unit."""
        return event * (self.spread / SIGMA_DATA) + self.center

    @property
    def least_variance(self) -> float:
        """Half of the variance of a pixel, event scale, that is due to dequantisation, below which
        nothing varies; a token one for a toy."""
        if self.levels is None:
            return 1e-6
        return (2 / self.levels * SIGMA_DATA / self.spread) ** 2 / 24

    @property
    def log_volume(self) -> float:
        """`log p_unit = log p_event + D * log_volume` for D dimensions."""
        return math.log(SIGMA_DATA / self.spread)

    def bits_per_dim(self, log_prob: Tensor, dimensions: int) -> Tensor:
        """Bits that a level costs under a density of dequantised pixels.

        By Jensen's inequality an upper bound on what the density's mass in the cells would cost
        (Theis, van den Oord, Bethge 2016).

        Args:
            log_prob: natural log of the density of all pixels together, unit scale.
            dimensions: number of pixels times channels.

        Raises:
            ValueError: the data has no levels.
        """
        if self.levels is None:
            raise ValueError("only levels can be coded; a toy's coordinates have none")
        return -(log_prob / dimensions + math.log(2 / self.levels)) / math.log(2)
