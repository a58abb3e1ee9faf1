"""Tables of evaluated models of pictures, and which models a figure has room for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pandas as pd

from weir.report.entries import Entry, definitions, ranked
from weir.tasks.image.figures.sheet import Picture, opened

RANKING = "energy_score"
"""Metric by which the models of a figure are chosen, where they have it."""


def drawn(row: Entry, name: str) -> pd.DataFrame:
    """A table of the first run, that is of the smallest seed; empty where there is none."""
    return row.first.tables.get(name, pd.DataFrame())


def mean_table(row: Entry, name: str, keys: list[str], values: list[str]) -> pd.DataFrame:
    """A table averaged over all runs that have it, sorted by its keys; empty where none has."""
    found = [run.tables[name][keys + values] for run in row.runs if name in run.tables]
    if not found:
        return pd.DataFrame(columns=keys + values)
    return pd.concat(found).groupby(keys, as_index=False, sort=True)[values].mean()


def of_kind(row: Entry, name: str, kind: str) -> pd.DataFrame:
    """The part of a table of the first run that is of one kind; empty where there is none."""
    table = drawn(row, name)
    return table[table["kind"] == kind].reset_index(drop=True) if not table.empty else table


def chosen(
    rows: Sequence[Entry],
    models: int,
    baselines: int,
    tables: Mapping[str, pd.DataFrame] | None = None,
) -> list[Entry]:
    """The best models and the best baselines, each by their score; no ceilings.

    Args:
        rows: to choose from.
        models: most models.
        baselines: most baselines.
        tables: what is drawn of each node. Of several evaluations of one model that differ in how
            samples are made, and here in nothing, the best stands for all.
    """
    known = definitions(rows)

    def first(some: list[Entry], most: int) -> list[Entry]:
        order = ranked(some, RANKING, known[RANKING]) if RANKING in known else some
        kept: list[Entry] = []
        for row in order:
            if tables is None or not any(
                tables[row.node].equals(tables[other.node]) for other in kept
            ):
                kept.append(row)
        return kept[:most]

    found = first([row for row in rows if row.contender], models)
    return found + first([row for row in rows if row.kind == "baseline"], baselines)


def lines(table: pd.DataFrame) -> list[list[Picture | None]]:
    """Pictures of one kind by row and column; a place that the table lacks is None."""
    columns = sorted(table["column"].unique())
    return [
        [opened(bytes(cells[column])) if column in cells else None for column in columns]
        for _, part in table.groupby("row", sort=True)
        for cells in [dict(zip(part["column"], part["png"], strict=True))]
    ]


def words(values: Sequence[object]) -> list[str]:
    """Labels as text: 3.0 is "3", a missing one is empty."""
    return [
        "" if value is None or value != value else f"{value:g}" if _number(value) else str(value)
        for value in values
    ]


def _number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
