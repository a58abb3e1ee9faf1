"""Yardsticks that look at no event: the outcome's rate, and the simulator's known risk.

Also what they share with the other baselines: the protocol by which the evaluation of risks asks a
model, and a base class whose state is sized by fitting.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Literal, Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from weir.errors import UserError
from weir.networks.fitted import FittedModule
from weir.tasks.clinical.data.records import Records
from weir.tasks.clinical.simulation import law

if TYPE_CHECKING:
    from weir.tasks.clinical.data.load import ClinicalData
    from weir.tasks.clinical.data.records import Records, RecordSet


@runtime_checkable
class Predictor(Protocol):
    """A model that predicts the outcome."""

    def risk(self, records: Records) -> Tensor:
        """Logit of the outcome's probability, `[record]`."""
        ...


def predicts_risk(model: nn.Module) -> bool:
    """Whether a model predicts the outcome; one of stage 1 does so only with an outcome head."""
    return isinstance(model, Predictor) and bool(getattr(model, "has_head", True))


class Fitted(FittedModule):
    """A baseline whose buffers take their shapes from the data, or from saved weights."""

    def fit(self, data: ClinicalData, seed: int) -> None:
        """Take what is needed from the training records."""
        raise NotImplementedError

    def risk(self, records: Records) -> Tensor:
        """Logit of the outcome's probability, `[record]` float32."""
        raise NotImplementedError


class MeanRate(Fitted):
    """Everybody has the risk of the training records."""

    def __init__(self) -> None:
        super().__init__()
        self.store(logit=torch.zeros((), dtype=torch.float64))

    def fit(self, data: ClinicalData, seed: int) -> None:
        """Count; with half a record more of each kind, so that no risk is 0 or 1."""
        outcome = data.split("train").outcome.double()
        positives = float(outcome.sum())
        odds = (positives + 0.5) / (len(outcome) - positives + 0.5)
        self.store(logit=torch.tensor(math.log(odds), dtype=torch.float64))

    def risk(self, records: Records) -> Tensor:
        """See `Fitted.risk`."""
        return self.logit.float().expand(len(records.outcome))


class Oracle(Fitted):
    """The risk that the simulator knows of each record; evaluation asks it by the record's number.

    Args:
        knows: `severity`, which outcomes were drawn by, or only the `events`, see `law`.
    """

    def __init__(self, knows: Literal["severity", "events"]) -> None:
        super().__init__()
        self.knows = knows
        # A model folder needs at least one tensor.
        self.store(fitted=torch.zeros(()))

    def fit(self, data: ClinicalData, seed: int) -> None:
        """Nothing is learnt, but there has to be a law.

        Raises:
            UserError: the data is not simulated.
        """
        law.load(data.folder)

    def known(self, data: ClinicalData, records: RecordSet) -> Tensor:
        """Logit of each record's known risk, `[n]` float64 on the CPU.

        Raises:
            UserError: the risk given the events is asked of records for which it is not known.
        """
        found = law.load(data.folder)
        risk = found.risk if self.knows == "severity" else found.filtered_risk
        risk = risk[records.rows.cpu()]
        if risk.isnan().any():
            raise UserError(
                "evaluate: the risk given the events is known of the test split only; evaluate "
                "on it, or set `knows: severity` in the oracle's baseline node"
            )
        # A risk so small that it is 0 as a number still has a logit.
        return risk.logit(eps=1e-12)

    def risk(self, records: Records) -> Tensor:
        """It does not answer by what is in a record.

        Raises:
            TypeError: always.
        """
        raise TypeError("Oracle is a ceiling, which only an evaluation can ask")
