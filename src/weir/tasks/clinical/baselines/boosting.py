"""Gradient boosting on fixed summaries of the events, or on their numbers alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor

from weir.tasks.clinical.baselines.fitted import Fitted
from weir.tasks.clinical.baselines.trees import Trees
from weir.tasks.clinical.features import counts, feature_table, features

if TYPE_CHECKING:
    from weir.tasks.clinical.baseline_config import Boosting
    from weir.tasks.clinical.data import ClinicalData
    from weir.tasks.clinical.records import Records


class Boosted(Fitted):
    """Trees on `features` of each record.

    Args:
        codes: number of known codes.
        settings: of the trees.
        counts: whether they see the numbers of events by code alone: no value and no static
            feature. What is measured, and how often, tells much about a patient.
    """

    def __init__(self, codes: int, settings: Boosting, *, counts: bool = False) -> None:
        super().__init__()
        self.codes, self.counts = codes, counts
        self.trees = Trees(settings)

    def fit(self, data: ClinicalData, seed: int) -> None:
        """Grow the trees on the training records."""
        train = data.split("train")
        self.trees.grow(self._seen(feature_table(train, self.codes)), train.outcome, seed)

    def risk(self, records: Records) -> Tensor:
        """See `Fitted.risk`."""
        return self.trees.logit(self._seen(features(records, self.codes))).float()

    def _seen(self, table: Tensor) -> Tensor:
        return counts(table, self.codes) if self.counts else table
