"""Settings of a head for the outcome, on a trained first stage."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, PositiveFloat, PositiveInt

from weir.config.base import Config


class Head(Config):
    """A head for the outcome."""

    representation: Literal["frozen", "fine_tuned"] = Field(
        "frozen", description="Keep the first stage as it is, or train all of it on."
    )
    summary: bool = Field(
        True, description="Add aggregates of each code's values where the first stage has none."
    )
    members: PositiveInt = Field(8, description="Members of the head, averaged.")
    hidden: PositiveInt = Field(128, description="Width of its two hidden layers.")
    input_dropout: float = Field(0.2, ge=0, lt=1, description="Dropout of what it is given.")
    dropout: float = Field(0.4, ge=0, lt=1, description="Dropout of its hidden layers.")
    encoder_learning_rate: PositiveFloat = Field(
        0.1, description="For `fine_tuned`: the first stage's, as a multiple of the head's."
    )
