"""Settings of points of two dimensions whose law is known exactly."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveInt, model_validator

from weir.settings.base import Config

Kind = Literal["moons", "spirals", "checkerboard", "mixture"]

NOISE: dict[Kind, float] = {"moons": 0.1, "spirals": 0.08, "checkerboard": 0.0, "mixture": 0.15}
"""Standard deviation of each kind's noise where none is set, in the points' coordinates."""


class Simulation(Config):
    """Points of two dimensions in classes of equal size, whose density is known exactly."""

    kind: Kind = Field(
        description="`moons`: two half circles; `spirals`: two arms; `checkerboard`: 8 squares, "
        "each column a class; `mixture`: 8 Gaussians on a ring, every other one of a class."
    )
    points: PositiveInt = Field(6000, ge=100, description="Number of points.")
    noise: NonNegativeFloat | None = Field(
        None, le=1, description="SD of the noise; null: moons .1, spirals .08, mixture .15, else 0."
    )
    seed: NonNegativeInt = Field(0, description="Seed of the points.")

    @property
    def sd(self) -> float:
        """Standard deviation of the noise."""
        return NOISE[self.kind] if self.noise is None else self.noise

    @model_validator(mode="after")
    def _a_density(self) -> Self:
        if self.kind != "checkerboard" and self.sd < 0.02:
            raise ValueError(f"noise of {self.kind} must be at least .02 for a density to be had")
        return self
