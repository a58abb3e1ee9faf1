"""Nodes of params.yaml that train the autoencoder of sets and the flow of records together."""

from __future__ import annotations

from typing import Self

from pydantic import Field, NonNegativeFloat, PositiveFloat, model_validator

from weir.config.training import Training
from weir.tasks.clinical.flow_config import RecordFlowSettings
from weir.tasks.clinical.stage1_config import ClinicalStage1


class ClinicalJoint(ClinicalStage1, RecordFlowSettings):
    """SeqSetVAE and flow trained together: the flow's gradient reaches the encoder."""

    flow_weight: NonNegativeFloat = Field(
        0.2, description="Weight of the flow's loss beside the autoencoder's."
    )
    flow_warmup: float = Field(
        0.3, ge=0, le=1, description="Share of the steps during which that weight rises from 0."
    )
    vae_learning_rate: PositiveFloat = Field(
        1.0, description="Autoencoder's learning rate, as a multiple of the flow's."
    )
    training: Training = Field(
        default_factory=lambda: Training(batch_size=64), description="Optimisation."
    )

    @model_validator(mode="after")
    def _parts_go_together(self) -> Self:
        if self.reconstruction == 0:
            raise ValueError(
                "reconstruction must be above 0: a flow of latents from which nothing can be read "
                "is worth nothing"
            )
        if self.outcomes == "drawn" and not self.outcome.weight:
            raise ValueError(
                "outcomes: drawn needs outcome.weight above 0; raise it, or leave outcomes out"
            )
        return self
