"""Settings of a simulated series."""

from __future__ import annotations

from pydantic import (
    Field,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
)

from weir.settings.base import Config


class Simulation(Config):
    """An hourly series whose conditional law is known: trend + cycles + VAR(1) residual.

    The residual's innovations are heavy-tailed and correlated; their scale depends on the hour
    and on the last residual; once a day a jump of random sign makes the future two-humped.
    """

    rows: PositiveInt = Field(4000, ge=200, description="Length, hours.")
    variables: PositiveInt = Field(4, le=64, description="Number of columns.")
    seed: NonNegativeInt = Field(0, description="Seed of the law and of the series.")
    trend: float = Field(0.5, description="Rise over the whole series, in innovation SDs.")
    daily: NonNegativeFloat = Field(2.0, description="SD of the daily cycle, in innovation SDs.")
    weekly: NonNegativeFloat = Field(0.5, description="SD of the weekly cycle, in innovation SDs.")
    persistence: float = Field(0.9, ge=0, lt=1, description="Norm of the VAR's matrix.")
    coupling: float = Field(
        0.25, ge=0, le=1, description="Share of the VAR's matrix that mixes variables."
    )
    correlation: float = Field(
        0.5, ge=0, lt=1, description="Absolute correlation between the variables' innovations."
    )
    degrees_of_freedom: float | None = Field(
        5.0, gt=2, description="Student-t tails of the innovations; null for Gaussian."
    )
    busy: PositiveFloat = Field(1.5, description="Factor on the scale from 8 to 20 o'clock.")
    stress: PositiveFloat = Field(
        1.5, description="Factor on the scale while the last residual is above `threshold`."
    )
    threshold: float = Field(
        1.5, description="Level of the residual along the jump's direction, in innovation SDs."
    )
    jump: NonNegativeFloat = Field(3.0, description="Size of the daily jump, in innovation SDs.")
    jump_probability: float = Field(
        0.8, ge=0, le=1, description="Probability of a jump in a day; up and down are as likely."
    )
    jump_hour: int = Field(6, ge=0, le=23, description="Hour of the day at which it may jump.")
