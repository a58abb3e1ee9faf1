"""Nodes of params.yaml for the perturbation task's baselines and evaluations."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, PositiveInt, model_validator

from weir.settings.base import Config, NodeName
from weir.settings.nodes import Evaluate

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


class PerturbBaseline(Config):
    """A simple prediction of perturbed cells that the models have to beat, or a ceiling."""

    method: Literal[
        "no_change",
        "perturbed_mean",
        "matching_mean",
        "additive",
        "delta_pca",
        "latent_delta",
        "linear",
        "nearest_group",
        "split_half",
        "oracle",
    ] = Field(
        description="Which baseline; `split_half` (half of the true cells) and `oracle` (the "
        "simulator's law) are ceilings."
    )
    dataset: NodeName | None = Field(None, description="Dataset, for all but `latent_delta`.")
    stage1: NodeName | None = Field(None, description="First stage, for `latent_delta`.")
    shift: bool = Field(
        False,
        description="For `nearest_group`: move the copied cells by the difference of the controls.",
    )

    @property
    def seeded(self) -> bool:
        """Whether another seed would give another baseline."""
        return self.method in ("latent_delta", "split_half")

    @model_validator(mode="after")
    def _one_upstream(self) -> Self:
        wanted = "stage1" if self.method == "latent_delta" else "dataset"
        other = "dataset" if wanted == "stage1" else "stage1"
        if getattr(self, wanted) is None or getattr(self, other) is not None:
            raise ValueError(f"method {self.method} needs `{wanted}` and no `{other}`")
        if self.shift and self.method != "nearest_group":
            raise ValueError("shift is for method nearest_group only")
        return self
