"""Tables of evaluated nodes as figures need them, and which nodes a figure has room for."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import pandas as pd

from weir.artifacts.evaluation import Definition, Evaluation
from weir.report.entries import Entry, definitions, featured, ranked


def has(row: Entry, name: str) -> bool:
    """Whether all runs have a table, with lines in it."""
    return all(name in run.tables and not run.tables[name].empty for run in row.runs)


def drawn(row: Entry, name: str) -> pd.DataFrame:
    """A table of the first run, that is of the smallest seed; empty where there is none."""
    return row.first.tables.get(name, pd.DataFrame())


def folds(row: Entry, name: str) -> pd.DataFrame:
    """A table of the smallest seed, the folds one below the other, with a column `fold`.

    Empty where no run has it. A seed is never chosen by its score.
    """
    return _stacked((run for run in row.runs if run.seed == row.first.seed), name)


def every(row: Entry, name: str) -> pd.DataFrame:
    """A table of all seeds and folds, with a column `fold`; empty where no run has it."""
    return _stacked(row.runs, name)


def _stacked(runs: Iterable[Evaluation], name: str) -> pd.DataFrame:
    parts = [run.tables[name].assign(fold=run.fold or "") for run in runs if name in run.tables]
    parts = [part for part in parts if not part.empty]
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame()


def averaged(
    row: Entry, name: str, keys: Sequence[str], values: Sequence[str], *, sort: bool = False
) -> pd.DataFrame:
    """A table's `values` averaged over all runs for each combination of `keys`.

    A value that one run lacks is missing: an average over the others would flatter. Empty where no
    run has the table.

    Args:
        sort: order by the keys, not as they first occur.
    """
    parts = [run.tables[name] for run in row.runs if name in run.tables]
    if not parts:
        return pd.DataFrame(columns=[*keys, *values])
    whole = pd.concat(parts, ignore_index=True)
    groups = whole.groupby(list(keys), sort=sort, dropna=False)[list(values)]
    complete = groups.count().eq(groups.size(), axis=0)
    return groups.mean().where(complete).reset_index()


def shown(
    rows: Sequence[Entry], metric: str, known: Mapping[str, Definition], baselines: int = 2
) -> list[Entry]:
    """The best model of each kind and the best baselines, those that have the score."""
    if metric not in known:
        return []
    others = [row for row in rows if row.kind != "baseline"]
    yardsticks = [row for row in rows if row.kind == "baseline"]
    best = featured(others, metric, known[metric])
    best += featured(yardsticks, metric, known[metric], baselines)
    return [row for row in best if row.statistic(metric).known]


def chosen(
    rows: Sequence[Entry],
    metric: str,
    models: int,
    baselines: int,
    tables: Mapping[str, pd.DataFrame] | None = None,
) -> list[Entry]:
    """The best models of any kind and the best baselines; no ceilings.

    Args:
        rows: to choose from.
        metric: what they are ranked by, where they have it.
        models: most models.
        baselines: most baselines.
        tables: what is drawn of each node. Of several evaluations of one model that differ in how
            samples are made, and here in nothing, the best stands for all.
    """
    known = definitions(rows)

    def first(some: list[Entry], most: int) -> list[Entry]:
        order = ranked(some, metric, known[metric]) if metric in known else some
        kept: list[Entry] = []
        for row in order:
            if tables is None or not any(
                tables[row.node].equals(tables[other.node]) for other in kept
            ):
                kept.append(row)
        return kept[:most]

    found = first([row for row in rows if row.contender], models)
    return found + first([row for row in rows if row.kind == "baseline"], baselines)
