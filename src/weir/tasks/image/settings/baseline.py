"""Baseline nodes of params.yaml, for pictures."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, PositiveFloat, PositiveInt

from weir.settings.base import Config, NodeName


class ImageBaseline(Config):
    """A simple law of pictures that the models have to beat, or the ceiling."""

    method: Literal["training_images", "gaussian", "mixture"] = Field(
        description="Which baseline; `training_images` (real ones as samples) is a ceiling."
    )
    dataset: NodeName = Field(description="The dataset node to fit.")
    components: PositiveInt = Field(5, description="For `mixture`: Gaussians of a class.")
    rank: PositiveInt = Field(
        64, description="For `mixture`: directions in which a Gaussian has a variance of its own."
    )
    prior: PositiveFloat = Field(
        60.0,
        description="Number of items that the pooled covariance counts for in that of a class, "
        "and what its Gaussians have in common in each of them.",
    )
    steps: PositiveInt = Field(30, description="For `mixture`: most steps of EM.")

    @property
    def seeded(self) -> bool:
        """Whether another seed would give another baseline."""
        return self.method != "training_images"
