"""Settings of the forecasting baselines."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import (
    Field,
    model_validator,
)

from weir.settings.base import Config, NodeName
from weir.settings.training import Training

DATASET_BASELINES = ("seasonal_naive", "dlinear", "oracle")
"""Baselines that need no backbone."""


class ForecastBaseline(Config):
    """A simple forecaster that the models have to beat."""

    method: Literal[
        "seasonal_naive",
        "dlinear",
        "gaussian",
        "bootstrap",
        "correlated_gaussian",
        "head",
        "head_copula",
        "oracle",
    ] = Field(description="Which baseline; `oracle` is the simulator's true law, a ceiling.")
    dataset: NodeName | None = Field(None, description="Dataset, for those without a backbone.")
    stage1: NodeName | None = Field(None, description="Backbone whose residuals are modelled.")
    training: Training = Field(default_factory=Training, description="Optimisation of `dlinear`.")

    @property
    def seeded(self) -> bool:
        """Whether another seed would give another baseline."""
        return self.method not in ("seasonal_naive", "oracle")

    @model_validator(mode="after")
    def _one_upstream(self) -> Self:
        wanted = "dataset" if self.method in DATASET_BASELINES else "stage1"
        other = "stage1" if wanted == "dataset" else "dataset"
        if getattr(self, wanted) is None or getattr(self, other) is not None:
            raise ValueError(f"method {self.method} needs `{wanted}` and no `{other}`")
        return self
