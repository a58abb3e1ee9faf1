"""Settings of the simulator of clinical records."""

from __future__ import annotations

from typing import Self

from pydantic import (
    Field,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    model_validator,
)

from weir.settings.base import Config


class Simulation(Config):
    """Intensive-care stays whose outcome has a known risk, given by a latent severity."""

    patients: PositiveInt = Field(2000, ge=40, description="Number of stays, one a patient.")
    hours: PositiveFloat = Field(48.0, ge=2, description="From admission to the prediction.")
    seed: NonNegativeInt = Field(0, description="Seed of everything that is drawn.")
    step_minutes: PositiveFloat = Field(
        30.0, ge=5, le=60, description="Step of the latent severity; at most one visit in each."
    )
    informative: bool = Field(
        True,
        description="Visits, panels and treatments are more frequent for the severely ill; "
        "otherwise as frequent for all, so that their times tell nothing.",
    )
    prevalence: float = Field(0.14, gt=0.01, lt=0.99, description="Expected share of the outcome.")
    auroc: float = Field(
        0.889, gt=0.5, lt=0.99, description="AUROC of the known risk: the best that there can be."
    )
    severity_hours: PositiveFloat = Field(
        24.0, description="Time in which severity forgets, an Ornstein-Uhlenbeck process of SD 1."
    )
    shock_rate: NonNegativeFloat = Field(0.25, description="Sudden deteriorations per day.")
    shock_size: NonNegativeFloat = Field(0.7, description="Mean rise of severity by one, in SDs.")
    visits: PositiveFloat = Field(1.0, description="Factor of the frequency of bedside visits.")
    panels: PositiveFloat = Field(1.0, description="Factor of the frequency of laboratory panels.")
    noise: PositiveFloat = Field(
        0.6, description="SD of the measurement errors, in the spread of each code."
    )
    missing_values: float = Field(
        0.01, ge=0, lt=1, description="Share of measurements whose value is null."
    )
    artefacts: float = Field(
        0.0, ge=0, le=0.5, description="Share of values that are no measurement: 0, or ten-fold."
    )
    leaks: bool = Field(
        True,
        description="Events after the prediction that reveal the outcome, which nothing may see.",
    )
    train_share: float = Field(0.7, gt=0, lt=1, description="Share of patients to train on.")
    tuning_share: float = Field(0.15, gt=0, lt=1, description="Share to tune on; others held out.")
    particles: NonNegativeInt = Field(
        400,
        description="Particles of the filter that gives held-out patients the risk that their "
        "events alone tell; 0 for none.",
    )

    @model_validator(mode="after")
    def _some_held_out(self) -> Self:
        shares = (self.train_share, self.tuning_share, 1 - self.train_share - self.tuning_share)
        if min(shares) * self.patients < 5:
            raise ValueError("train_share and tuning_share leave a split less than 5 patients")
        return self

    @property
    def steps(self) -> int:
        """Steps of the latent severity in a stay."""
        return max(round(self.hours * 60 / self.step_minutes), 1)
