"""Settings of simulated cells."""

from __future__ import annotations

from itertools import pairwise
from typing import Self

from pydantic import (
    Field,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    field_validator,
    model_validator,
)

from weir.settings.base import Config


class Simulation(Config):
    """Cells whose law, and whose counts under every other condition, are known exactly."""

    cells: PositiveInt = Field(4000, ge=50, description="Number of cells.")
    genes: PositiveInt = Field(500, ge=20, description="Number of genes.")
    seed: NonNegativeInt = Field(0, description="Seed of the law and of the cells.")
    cell_types: PositiveInt = Field(4, description="Number of cell types.")
    batches: PositiveInt = Field(3, description="Number of batches.")
    perturbations: PositiveInt = Field(3, le=26, description="Number of perturbations.")
    doses: tuple[PositiveFloat, ...] = Field(
        (0.1, 1.0, 10.0), min_length=1, description="Doses, in units of the median half dose."
    )
    combinations: NonNegativeInt = Field(
        2, description="Pairs of perturbations given together, at the highest dose."
    )
    control_share: float = Field(0.3, gt=0, lt=1, description="Share of control cells.")
    confounding: float = Field(
        0.0,
        ge=0,
        le=1,
        description="How much a batch prefers some conditions: 0 each is as likely in every batch, "
        "1 each perturbation occurs in one batch only (controls occur in all).",
    )
    programmes: PositiveInt = Field(8, description="Gene programmes that span the cells' states.")
    state: NonNegativeFloat = Field(
        0.5, description="SD of a cell's programme activities within its type."
    )
    type_effect: NonNegativeFloat = Field(1.0, description="SD of the types' mean activities.")
    batch_effect: NonNegativeFloat = Field(
        0.25, description="SD over genes of a batch's shift, in natural log."
    )
    effect: NonNegativeFloat = Field(
        1.0, description="SD of a full perturbation's shift of its target genes, in natural log."
    )
    targets: float = Field(0.15, gt=0, le=1, description="Share of genes a perturbation shifts.")
    type_dependence: NonNegativeFloat = Field(
        0.3, description="SD of the log factor by which a cell type's response differs."
    )
    interaction: NonNegativeFloat = Field(
        0.7, description="SD of a pair's shift beyond the sum of both, in natural log."
    )
    hill: PositiveFloat = Field(1.5, description="Hill coefficient of the dose response.")
    spatial: NonNegativeFloat = Field(
        0.0, description="SD of the log shift by the place in the tissue; 0 for no positions."
    )
    spatial_response: NonNegativeFloat = Field(
        0.0,
        description="SD over cells of the log factor by which the place in the tissue changes a "
        "response; 0 for none.",
    )
    depth: PositiveFloat = Field(400.0, description="Median expected library, counts.")
    depth_sd: NonNegativeFloat = Field(0.56, description="SD of the natural log library.")
    zeros: float = Field(
        0.8, gt=0, lt=1, description="Share of zeros among the control cells' counts."
    )
    theta_quantiles: tuple[PositiveFloat, PositiveFloat, PositiveFloat, PositiveFloat] = Field(
        (0.5, 1.0, 3.5, 20.0),
        description="Quantiles .05, .25, .5 and .75 of the genes' inverse dispersion.",
    )
    poisson: float = Field(
        0.12, ge=0, lt=0.25, description="Share of nearly Poisson genes (inverse dispersion 10000)."
    )

    @field_validator("doses", "theta_quantiles")
    @classmethod
    def _ascending(cls, value: tuple[float, ...]) -> tuple[float, ...]:
        if any(low >= high for low, high in pairwise(value)):
            raise ValueError("must ascend")
        return value

    @model_validator(mode="after")
    def _enough_pairs(self) -> Self:
        pairs = self.perturbations * (self.perturbations - 1) // 2
        if self.combinations > pairs:
            raise ValueError(f"combinations are at most {pairs}, the pairs of perturbations")
        return self
