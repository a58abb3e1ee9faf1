"""Aggregates of a record's values, against pandas, and their normal scores."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch
from clinical_models import doubled, records_of
from scipy.stats import norm, rankdata

from weir.tasks.clinical.representation.aggregates import AGGREGATES, LIMIT, Summary, aggregates

ODD = [[3, 1, 4, 1], [], [2], [1, 1, 1, 1, 1, 1, 7], [], [4, 4, 30], [2, 3, 2], []]


def expected(records, codes: int) -> np.ndarray:
    event_set = records.event_set
    frame = pd.DataFrame(
        {
            "record": records.set_record[event_set],
            "code": records.code,
            "hour": records.time[event_set],
            "value": records.value.where(records.measured, torch.nan),
        }
    )
    found = np.full((len(records.outcome), codes, len(AGGREGATES)), np.nan)
    found[..., 0] = 0
    for (record, code), group in frame.groupby(["record", "code"]):
        row = found[record, code]
        row[0] = len(group)
        seen = group.dropna()
        if not len(seen):
            continue
        value = seen["value"]
        row[1:6] = value.min(), value.max(), value.mean(), value.iloc[-1], value.iloc[0]
        if seen["hour"].nunique() > 1:
            row[6] = np.polyfit(seen["hour"], value, 1)[0]
        if len(seen) > 1:
            row[7] = value.std(ddof=0)
    return found


def test_aggregates_are_those_of_pandas():
    records = doubled(records_of(ODD, 2, codes=5))
    np.testing.assert_allclose(aggregates(records, 5), expected(records, 5), rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("sizes", [[[], []], [[]]])
def test_records_without_events_have_counts_of_zero(sizes):
    found = aggregates(records_of(sizes, 2), 9)
    assert (found[..., 0] == 0).all() and found[..., 1:].isnan().all()
    assert (Summary(9)(records_of(sizes, 2)).abs() <= LIMIT).all()


def test_scores_are_normal_scores_of_ranks(tiny_clinical):
    """With as many quantiles as records a score is that of the mean rank, ties and all."""
    train = tiny_clinical.split("train")
    batch = train.batch(torch.arange(len(train)))
    summary = Summary(9, quantiles=len(train))
    summary.fit(train)
    scores = summary(batch)[:, : 9 * 8].unflatten(1, (9, 8))
    found = aggregates(batch, 9)
    for code, column in ((1, 0), (1, 3), (7, 0)):
        values = found[:, code, column]
        assert not values.isnan().any() or column
        if values.isnan().any():
            continue
        rank = (rankdata(values) - 1) / (len(values) - 1)
        want = norm.ppf(rank.clip(1e-6, 1 - 1e-6)).clip(-LIMIT, LIMIT)
        np.testing.assert_allclose(scores[:, code, column], want, atol=2e-3)


def test_missing_aggregates_are_flagged_and_scored_zero(tiny_clinical):
    train = tiny_clinical.split("train")
    summary = Summary(9)
    summary.fit(train)
    batch = train.batch(torch.arange(len(train)))
    found = aggregates(batch, 9)
    scores, flags = summary(batch).split([9 * 8, 9 * 2], 1)
    missing = found.flatten(1).isnan()
    assert missing.any() and (scores[missing] == 0).all() and scores.isfinite().all()
    known = flags.unflatten(1, (9, 2))
    torch.testing.assert_close(known[..., 0], (~found[..., 4].isnan()).float())
    torch.testing.assert_close(known[..., 1], (~found[..., 6].isnan()).float())
    # Between quantiles a score rises with the value; beyond them it stops at the limit.
    code = torch.full((3,), 1)
    value = torch.tensor([-100.0, 0.0, 100.0])
    alone = records_of([[1], [1], [1]], 2)._replace(
        code=code, value=value, measured=torch.ones(3, dtype=torch.bool)
    )
    last = summary(alone)[:, : 9 * 8].unflatten(1, (9, 8))[:, 1, 4]
    assert last[0] == -LIMIT and last[2] == LIMIT and abs(last[1]) < 1
