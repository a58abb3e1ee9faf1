"""Tables of evaluated models: of one seed's splits, and averaged over all runs of a node."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pandas as pd

from weir.artifacts.evaluation import Definition
from weir.report.entries import Entry, featured

BASELINES = 2
"""Best baselines that stand beside the best model of each kind."""


def drawn(row: Entry, name: str) -> pd.DataFrame:
    """A table of the first run, that is of the smallest seed; empty where there is none."""
    return row.first.tables.get(name, pd.DataFrame())


def averaged(row: Entry, name: str, keys: Sequence[str], values: Sequence[str]) -> pd.DataFrame:
    """A table's `values` averaged over all runs for each combination of `keys`, in their order.

    A value that one run lacks is missing: an average over the others would flatter. Empty where no
    run has the table.
    """
    parts = [run.tables[name] for run in row.runs if name in run.tables]
    if not parts:
        return pd.DataFrame()
    whole = pd.concat(parts, ignore_index=True)
    groups = whole.groupby(list(keys), sort=False, dropna=False)[list(values)]
    return groups.agg(lambda column: column.mean(skipna=False)).reset_index()


def shown(rows: Sequence[Entry], metric: str, known: Mapping[str, Definition]) -> list[Entry]:
    """The best model of each kind and the best baselines, those that have the score."""
    if metric not in known:
        return []
    others = [row for row in rows if row.kind != "baseline"]
    baselines = [row for row in rows if row.kind == "baseline"]
    best = featured(others, metric, known[metric])
    best += featured(baselines, metric, known[metric], BASELINES)
    return [row for row in best if row.statistic(metric).known]
