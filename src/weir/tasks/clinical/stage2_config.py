"""The `stage2` nodes of the clinical task: a flow of records, or a head for the outcome."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, Self

from pydantic import Field, model_validator

from weir.config.base import Config
from weir.tasks.clinical.flow_config import ClinicalFlow, RecordFlowSettings
from weir.tasks.clinical.head_config import Head
from weir.tasks.clinical.stage1_config import ClinicalStage1


class ClinicalStage2(ClinicalFlow):
    """Stage 2: a flow of records, or a head that predicts the outcome."""

    model: Literal["flow", "head"] = Field(
        "flow", description="What is trained on the first stage."
    )
    head: Head = Field(default_factory=Head, description="For `head`: its settings.")

    @model_validator(mode="after")
    def _of_the_model(self) -> Self:
        others = ["head"] if self.model == "flow" else list(RecordFlowSettings.model_fields)
        for name in others:
            default = type(self).model_fields[name].get_default(call_default_factory=True)
            if getattr(self, name) != default:
                other = "head" if self.model == "flow" else "flow"
                raise ValueError(f"{name} is for model {other} only; remove it")
        return self

    def fits_on(self, above: Sequence[Config]) -> None:
        """Only a first stage that has a risk can draw outcomes."""
        (stage1,) = (node for node in above if isinstance(node, ClinicalStage1))
        if self.outcomes == "drawn" and not stage1.outcome.weight:
            raise ValueError(
                "outcomes: drawn needs a stage1 node that is trained with the outcome; raise its "
                "outcome.weight above 0, or leave it out"
            )
