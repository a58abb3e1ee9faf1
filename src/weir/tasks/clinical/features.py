"""A record as one row of numbers, as the simple models see it: aggregates of its events."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from weir.tasks.clinical.summary import AGGREGATES, aggregates

if TYPE_CHECKING:
    from weir.tasks.clinical.records import Records, RecordSet


def feature_names(schema: dict[str, Any]) -> list[str]:
    """Names of the columns of `features`, from a dataset's card."""
    codes = [code["name"] for code in schema["codes"]]
    return [*(f"{code} {what}" for code in codes for what in AGGREGATES), *schema["static"]]


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
