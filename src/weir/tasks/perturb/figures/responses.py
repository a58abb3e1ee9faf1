"""Responses that figures show: which ones, what they are called, and their part of a table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import pandas as pd

from weir.report.entries import Entry
from weir.report.tables import folds

RESPONSES = 6
"""Responses that a figure shows of one model."""


class Key(NamedTuple):
    """A response: what a group of control cells became under a condition, in one fold."""

    fold: str
    response: str


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
    table = folds(row, "responses")
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
