"""Baseline nodes of params.yaml, for clinical records."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, PositiveFloat, PositiveInt, StringConstraints, model_validator

from weir.settings.base import Config, NodeName
from weir.settings.training import Training
from weir.tasks.clinical.settings.flow import Bins

Built = Annotated[str, StringConstraints(pattern=r"^(stage1|stage2|joint)/[a-z0-9]+(-[a-z0-9]+)*$")]
"""A node whose model has a risk or a representation, written `section/name`."""


class Boosting(Config):
    """Gradient-boosted trees on histograms of the features."""

    learning_rate: PositiveFloat = Field(0.04, description="Weight of each tree.")
    trees: PositiveInt = Field(250, description="Number of trees.")
    leaves: PositiveInt = Field(12, ge=2, description="Most leaves of a tree.")
    min_leaf: PositiveInt = Field(40, description="Fewest training records in a leaf.")
    l2: float = Field(5.0, ge=0, description="Penalty of a leaf's value.")
    max_features: float = Field(
        0.3, gt=0, le=1, description="Share of the features that a split may choose from."
    )


class RecurrentNetwork(Config):
    """Shape of `gru_d`."""

    hidden: PositiveInt = Field(64, description="Width of the state.")
    dropout: float = Field(0.3, ge=0, lt=1, description="Dropout of the last state.")


class ClinicalBaseline(Config):
    """A simple model that the others have to beat, or a ceiling."""

    method: Literal[
        "mean_rate",
        "counts",
        "logistic",
        "boosting",
        "gru_d",
        "stacked",
        "oracle",
        "mean_by_hour",
        "last_value",
        "gaussian_process",
    ] = Field(
        description="Which baseline; `counts` is boosting on the numbers of events alone, "
        "`stacked` a model and boosting together, `oracle` (the simulator's law) a ceiling; the "
        "last three fill in and forecast."
    )
    dataset: NodeName | None = Field(None, description="Dataset, for all but `stacked`.")
    model: Built | None = Field(
        None, description="The model that `stacked` joins with boosting, as section/name."
    )
    penalty: PositiveFloat = Field(
        0.003, description="For `logistic`: scikit-learn's C, the inverse of the ridge penalty."
    )
    boosting: Boosting = Field(default_factory=Boosting, description="Settings of the trees.")
    network: RecurrentNetwork = Field(
        default_factory=RecurrentNetwork, description="For `gru_d`: its shape."
    )
    training: Training = Field(
        default_factory=lambda: Training(batch_size=128, steps=600, learning_rate=2e-3),
        description="For `gru_d`: optimisation.",
    )
    representation: bool = Field(
        False, description="For `stacked`: the trees see the model's representation as well."
    )
    weight: float | None = Field(
        None,
        ge=0,
        le=1,
        description="For `stacked`: the model's share of the mean logit; null: the share with the "
        "least log loss on validation records.",
    )
    grid: Bins = Field(
        default_factory=Bins,
        description="For `gru_d` and those that fill in: their grid, as a flow's.",
    )
    knows: Literal["severity", "events"] = Field(
        "severity",
        description="For `oracle`: the patient's true severity, by which outcomes were drawn, or "
        "only the events, as every model does (test records only).",
    )

    @property
    def seeded(self) -> bool:
        """Whether another seed would give another baseline."""
        return self.method in ("counts", "boosting", "gru_d", "stacked")

    @model_validator(mode="after")
    def _of_the_method(self) -> Self:
        wanted = "model" if self.method == "stacked" else "dataset"
        other = "dataset" if wanted == "model" else "model"
        if getattr(self, wanted) is None or getattr(self, other) is not None:
            raise ValueError(f"method {self.method} needs `{wanted}` and no `{other}`")
        if self.method != "stacked" and (self.representation or self.weight is not None):
            raise ValueError("representation and weight are for method stacked only")
        for name in ("network", "training"):
            default = type(self).model_fields[name].get_default(call_default_factory=True)
            if self.method != "gru_d" and getattr(self, name) != default:
                raise ValueError(f"{name} is for method gru_d only; remove it")
        return self
