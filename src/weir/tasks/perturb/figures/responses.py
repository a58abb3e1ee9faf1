"""Tables of evaluated cells: over the folds of one seed, and averaged over all runs of a node."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import pandas as pd

from weir.artifacts.evaluation import Evaluation
from weir.report.entries import Entry

RESPONSES = 6
"""Responses that a figure shows of one model."""


class Key(NamedTuple):
    """A response: what a group of control cells became under a condition, in one fold."""

    fold: str
    response: str


def fold_of(run: Evaluation) -> str:
    """The group that the run held out; empty where there are no folds."""
    return run.fold or ""


def drawn(row: Entry, name: str) -> pd.DataFrame:
    """A table of the smallest seed, the folds one below the other, with a column `fold`.

    Empty where no run has it. A seed is never chosen by its score.
    """
    parts = [
        run.tables[name].assign(fold=fold_of(run))
        for run in row.runs
        if run.seed == row.first.seed and name in run.tables
    ]
    parts = [part for part in parts if not part.empty]
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame()


def every(row: Entry, name: str) -> pd.DataFrame:
    """A table of all seeds and folds, with a column `fold`; empty where no run has it."""
    parts = [run.tables[name].assign(fold=fold_of(run)) for run in row.runs if name in run.tables]
    parts = [part for part in parts if not part.empty]
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame()


def responses(tables: Sequence[pd.DataFrame], most: int = RESPONSES) -> list[Key]:
    """At most `most` responses that occur in all tables: the folds take turns, spread evenly.

    They are not chosen by any score.
    """
    if not tables:
        return []
    found = [dict.fromkeys(map(Key, table["fold"], table["response"])) for table in tables]
    shared = [key for key in found[0] if all(key in other for other in found[1:])]
    folds: dict[str, list[Key]] = {}
    for key in shared:
        folds.setdefault(key.fold, []).append(key)
    share = max(most // max(len(folds), 1), 1)
    first = [key for keys in folds.values() for key in _spread(keys, share)]
    if len(first) > most:
        first = _spread(first, most)
    rest = [key for key in shared if key not in first]
    kept = {*first, *rest[: most - len(first)]}
    return [key for key in shared if key in kept]


def _spread(keys: list[Key], most: int) -> list[Key]:
    return keys if len(keys) <= most else [keys[n * len(keys) // most] for n in range(most)]


def recorded(row: Entry, key: Key, metric: str) -> float:
    """A response's score in the smallest seed; NaN where it was not measured."""
    table = drawn(row, "responses")
    if metric not in table:
        return float("nan")
    found = of(table, key)[metric]
    return float(found.iloc[0]) if len(found) and found.iloc[0] is not None else float("nan")


def of(table: pd.DataFrame, key: Key) -> pd.DataFrame:
    """The lines of one response."""
    return table[(table["fold"] == key.fold) & (table["response"] == key.response)]


def titles(keys: Sequence[Key]) -> Mapping[Key, str]:
    """What to call each response; those that several folds have get the fold's name too."""
    names = [key.response for key in keys]
    return {
        key: key.response if names.count(key.response) == 1 else f"{key.response} ({key.fold})"
        for key in keys
    }
