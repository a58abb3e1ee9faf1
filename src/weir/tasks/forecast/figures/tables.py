"""Tables of an evaluated forecast, over all seeds of a node."""

from __future__ import annotations

import pandas as pd

from weir.report.entries import Entry


def has(row: Entry, name: str) -> bool:
    return all(name in run.tables and not run.tables[name].empty for run in row.runs)


def mean_table(row: Entry, name: str, keys: list[str], values: list[str]) -> pd.DataFrame:
    """A table averaged over the seeds, sorted by its keys."""
    stacked = pd.concat([run.tables[name][keys + values] for run in row.runs])
    return stacked.groupby(keys, as_index=False, sort=True)[values].mean()


def has_spread(row: Entry) -> bool:
    """Whether this is more than a point forecast, whose calibration needs no picture."""
    coverage = row.statistic("coverage_90")
    return not coverage.known or coverage.mean > 0.02
