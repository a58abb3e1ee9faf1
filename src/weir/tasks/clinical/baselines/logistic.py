"""Logistic regression on aggregates of a record's events, and the table of these aggregates.

The table has a row of numbers for each record; other simple models see records in the same form.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from weir.tasks.clinical.baselines.constants import Fitted
from weir.tasks.clinical.representation.aggregates import AGGREGATES, aggregates

if TYPE_CHECKING:
    from weir.tasks.clinical.data.load import ClinicalData
    from weir.tasks.clinical.data.records import Records, RecordSet
    from weir.tasks.clinical.data.schema import Schema


def feature_names(schema: Schema) -> list[str]:
    """Names of the columns of `features`."""
    codes = [code.name for code in schema.codes]
    return [*(f"{code} {what}" for code in codes for what in AGGREGATES), *schema.static]


def features(records: Records, codes: int) -> Tensor:
    """Aggregates of each known code's events, and the static features.

    Args:
        records: a batch.
        codes: number of known codes.

    Returns:
        `[record, codes * 8 + static]` float32 in the order of `feature_names`; NaN where a record
        has too few values, see `summary.aggregates`.
    """
    table = aggregates(records, codes + 1)[:, 1:]
    return torch.cat([table.flatten(1), records.static], 1)


def counts(table: Tensor, codes: int) -> Tensor:
    """Of `features` `[record, feature]` the numbers of events by code, `[record, codes]`."""
    return table[:, AGGREGATES.index("count") : codes * len(AGGREGATES) : len(AGGREGATES)]


def feature_table(records: RecordSet, codes: int) -> Tensor:
    """`features` of every record of a set, `[n, feature]`, gathered in pieces."""
    return torch.cat([features(batch, codes) for _, batch in records.all()])


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
        self.store(median=row, mean=row, sd=row, weight=row, offset=row.new_zeros(()))

    def fit(self, data: ClinicalData, seed: int) -> None:
        """Fit to the training records; the features are standardised."""
        # Takes a second to import, and only fitting needs it.
        from sklearn.linear_model import LogisticRegression

        train = data.split("train")
        table = feature_table(train, self.codes).double()
        middle = torch.stack([_median(column) for column in table.T])
        table = torch.where(table.isnan(), middle, table)
        sd = table.std(0, correction=0)
        self.store(median=middle, mean=table.mean(0), sd=torch.where(sd > 0, sd, 1.0))
        model = LogisticRegression(C=self.penalty, max_iter=1000)
        model.fit(((table - self.mean) / self.sd).cpu().numpy(), train.outcome.cpu().numpy() > 0)
        self.store(
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
