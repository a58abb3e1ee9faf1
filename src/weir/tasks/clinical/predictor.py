"""What the evaluation of risks asks of a model."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

from torch import Tensor, nn

from weir.tasks.clinical.records import Records


@runtime_checkable
class Predictor(Protocol):
    """A model that predicts the outcome."""

    def risk(self, records: Records) -> Tensor:
        """Logit of the outcome's probability, `[record]`."""
        ...


def predicts_risk(model: nn.Module) -> bool:
    """Whether a model predicts the outcome; one of stage 1 does so only with an outcome head."""
    return isinstance(model, Predictor) and bool(getattr(model, "has_head", True))
