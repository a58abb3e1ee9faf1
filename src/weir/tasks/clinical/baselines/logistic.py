"""Logistic regression on fixed summaries of the events."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from weir.tasks.clinical.baselines.fitted import Fitted
from weir.tasks.clinical.features import feature_table, features

if TYPE_CHECKING:
    from weir.tasks.clinical.data import ClinicalData
    from weir.tasks.clinical.records import Records


class Logistic(Fitted):
    """Ridge logistic regression on `features`; the training median stands for a missing one.

    Args:
        codes: number of known codes.
        penalty: scikit-learn's C.
    """

    def __init__(self, codes: int, penalty: float) -> None:
        super().__init__()
        self.codes, self.penalty = codes, penalty
        row = torch.zeros(0, dtype=torch.float64)
        self.hold(median=row, mean=row, sd=row, weight=row, offset=row.new_zeros(()))

    def fit(self, data: ClinicalData, seed: int) -> None:
        """Fit to the training records; the features are standardised."""
        # Takes a second to import, and only fitting needs it.
        from sklearn.linear_model import LogisticRegression

        train = data.split("train")
        table = feature_table(train, self.codes).double()
        middle = torch.stack([_median(column) for column in table.T])
        table = torch.where(table.isnan(), middle, table)
        sd = table.std(0, correction=0)
        self.hold(median=middle, mean=table.mean(0), sd=torch.where(sd > 0, sd, 1.0))
        model = LogisticRegression(C=self.penalty, max_iter=1000)
        model.fit(((table - self.mean) / self.sd).cpu().numpy(), train.outcome.cpu().numpy() > 0)
        self.hold(
            weight=torch.from_numpy(model.coef_[0]),
            offset=torch.tensor(model.intercept_[0], dtype=torch.float64),
        )

    def risk(self, records: Records) -> Tensor:
        """See `Fitted.risk`."""
        table = features(records, self.codes).double()
        table = torch.where(table.isnan(), self.median, table)
        return ((table - self.mean) / self.sd @ self.weight + self.offset).float()


def _median(column: Tensor) -> Tensor:
    """Median of the values that are there, of two middle ones the mean; 0 where there is none."""
    known = column[~column.isnan()]
    return known.quantile(0.5) if len(known) else known.sum()
