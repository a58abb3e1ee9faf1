"""What baselines share: a risk, and a state that fitting sizes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor

from weir.networks.held import Held

if TYPE_CHECKING:
    from weir.tasks.clinical.data import ClinicalData
    from weir.tasks.clinical.records import Records


class Fitted(Held):
    """A baseline whose buffers take their shapes from the data, or from saved weights."""

    def fit(self, data: ClinicalData, seed: int) -> None:
        """Take what is needed from the training records."""
        raise NotImplementedError

    def risk(self, records: Records) -> Tensor:
        """Logit of the outcome's probability, `[record]` float32."""
        raise NotImplementedError
