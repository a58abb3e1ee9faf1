"""The `stage2` nodes of the clinical task: a flow of records, or a head for the outcome."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from weir.tasks.clinical.flow_config import ClinicalFlow, RecordFlowSettings
from weir.tasks.clinical.head_config import Head


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
