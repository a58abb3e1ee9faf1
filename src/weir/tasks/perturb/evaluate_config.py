"""Evaluate nodes of params.yaml, for perturbation."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, PositiveInt

from weir.config.nodes import Evaluate

Embedding = Literal["pca", "umap"]


class PerturbEvaluate(Evaluate):
    """Scores of one model on every response of a split, and what the report shows of it."""

    samples: PositiveInt = Field(1000, ge=2, description="Generated cells of each response.")
    estimand: Literal["edit", "population"] | None = Field(
        None,
        description="Perturb the given control cells, or make new cells; null takes the model's.",
    )
    embedding: Embedding = Field(
        "pca", description="Plane on which cells are shown; `umap` takes longer."
    )
