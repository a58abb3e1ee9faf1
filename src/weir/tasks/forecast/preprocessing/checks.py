"""Checks of a series, and the repairs that its dataset node allows: each an error or a record."""

from __future__ import annotations

import re
from itertools import pairwise

import numpy as np
import pandas as pd

from weir.artifacts.schema_file import ColumnRepair
from weir.errors import Repairable, UserError
from weir.tasks.forecast.data.schema import Part
from weir.tasks.forecast.preprocessing.reading import Table, place
from weir.tasks.forecast.settings.dataset import ForecastDataset

CODE = re.compile(r"^-?(9{2,}|9+\.9+|1e\+(20|30|35|36|37)|9\.96921e\+36)$")
"""Numbers that instruments and archives write for a missing value: -9999, 999.9, 1e20."""


def clean(table: Table, config: ForecastDataset) -> None:
    """Make `table` a gapless series on the grid of `config.frequency`, in place.

    Raises:
        UserError: the table is not, and `config` allows no repair; one line.
    """
    sentinels(table, config)
    infinities(table)
    order(table, config)
    duplicates(table, config)
    grid(table, config)
    fill(table, config)


def sentinels(table: Table, config: ForecastDataset) -> None:
    """Turn declared sentinels into missing cells; refuse what looks like an undeclared one."""
    for name in table.values.columns:
        column = table.values[name]
        if config.sentinels is None:
            found = suspicious(column)
            if found is not None:
                row = int((column == found).to_numpy().argmax())
                raise UserError(
                    f"{table.at(row, name)}: {found:.7g} is far from all other values, probably "
                    f"a missing one ({int((column == found).sum())} such cells); set `sentinels: "
                    f"[{found:.7g}]` (or [] if it is real)"
                )
            continue
        hit = column.isin(config.sentinels)
        if hit.any():
            table.values = table.values.assign(**{name: column.mask(hit)})
            listed = ", ".join(f"{value:.7g}" for value in sorted(set(column[hit])))
            table.repairs.append(
                ColumnRepair("sentinels", int(hit.sum()), f"{listed} is a missing value", (name,))
            )


def suspicious(column: pd.Series) -> float | None:
    """A number like -9999 that lies farther from a column's other values than they spread."""
    for value in (column.min(), column.max()):
        if not CODE.match(f"{value:.7g}"):
            continue
        rest = column[column != value].dropna()
        if rest.empty:
            return float(value)
        spread = rest.max() - rest.min()
        if min(abs(value - rest.min()), abs(value - rest.max())) > max(spread, 1e-12):
            return float(value)
    return None


def infinities(table: Table) -> None:
    """No cell is infinite."""
    rows, columns = np.nonzero(np.isinf(table.values.to_numpy()))
    if len(rows):
        raise UserError(
            f"{table.at(rows[0], table.values.columns[columns[0]])}: the value is infinite; leave "
            "the cell empty and set `gaps`, or fix it"
        )


def order(table: Table, config: ForecastDataset) -> None:
    """Timestamps do not go back."""
    back = np.flatnonzero(np.diff(table.times.asi8) < 0)
    if not len(back):
        return
    if config.order == "error":
        raise UserError(
            f"{table.at(back[0] + 1)}: the time goes back from {table.times[back[0]]}; sort the "
            "file or set `order: sort`"
        )
    table.keep(np.argsort(table.times.asi8, kind="stable"))
    table.repairs.append(
        ColumnRepair("sorted", len(back), "rows that went back in time were sorted in")
    )


def duplicates(table: Table, config: ForecastDataset) -> None:
    """Each timestamp stands once."""
    again = table.times.duplicated(keep="first")
    if not again.any():
        return
    row = int(again.argmax())
    if config.duplicates == "error":
        fix = "set `duplicates: first` or `mean`"
        if 2 * again.sum() >= len(again):
            fix = "if the file stacks several series, write one column for each, else " + fix
        elif _clock_change(table.times[row]):
            fix = "if these are local times with daylight saving set `timezone`, else " + fix
        raise UserError(
            f"{table.at(row)}: the timestamp stands twice ({int(again.sum())} such rows); {fix}"
        )
    if config.duplicates == "mean":
        values = table.values.groupby(np.cumsum(~again) - 1).mean()
        table.keep(~again)
        table.values = values
    else:
        table.keep(~again)
    detail = "kept the first" if config.duplicates == "first" else "averaged"
    table.repairs.append(
        ColumnRepair("duplicates", int(again.sum()), f"{detail} of equal timestamps")
    )


def grid(table: Table, config: ForecastDataset) -> None:
    """Rows lie on the grid of `frequency`; missing ones become rows of missing cells."""
    expected = pd.date_range(table.times[0], table.times[-1], freq=config.frequency)
    off = ~table.times.isin(expected)
    if off.any():
        row = int(off.argmax())
        step = pd.Series(table.times).diff().mode()
        seen = f"; most rows are {step[0]} apart" if len(step) else ""
        raise UserError(
            f"{table.at(row)}: not on the grid of every {config.frequency} from "
            f"{table.times[0]}{seen}; set `frequency`, or resample the file"
        )
    if len(expected) == len(table.times):
        return
    where = np.searchsorted(table.times, expected)
    table.values = table.values.set_index(table.times).reindex(expected).reset_index(drop=True)
    table.lines = table.lines[where]
    table.times = expected


def fill(table: Table, config: ForecastDataset) -> None:
    """Fill runs of missing cells no longer than `max_gap`, or refuse them."""
    missing = table.values.isna().to_numpy()
    if not missing.any():
        return
    rows, columns = np.nonzero(missing)
    if config.gaps == "error":
        raise UserError(_gap_message(table, missing, int(rows[0]), int(columns[0])))
    longest = 0
    for index, name in enumerate(table.values.columns):
        for first, length in runs(missing[:, index]):
            longest = max(longest, length)
            if length > config.max_gap:
                raise UserError(
                    f"{table.at(first, name)}: {length} values are missing in a row, max_gap is "
                    f"{config.max_gap}; cut the file there, drop the column, or raise `max_gap`"
                )
            end = first + length == len(missing)
            if first == 0 or (end and config.gaps == "interpolate"):
                raise UserError(
                    f"{table.at(first, name)}: the series {'ends' if first else 'starts'} with "
                    f"{length} missing values, which cannot be filled; cut those rows or drop the "
                    "column"
                )
    if config.gaps == "hold":
        table.values = table.values.ffill()
    else:
        # Rows are evenly spaced in steps of the grid, hence by row number.
        table.values = table.values.interpolate(method="linear")
    names = tuple(table.values.columns[missing.any(0)])
    how = "interpolated" if config.gaps == "interpolate" else "held the last value"
    rows_missing = int(missing.all(1).sum())
    table.repairs.append(
        ColumnRepair(
            "filled",
            int(missing.sum()),
            f"{how}; {rows_missing} whole rows; longest run {longest} rows",
            names,
        )
    )


def runs(mask: np.ndarray) -> list[tuple[int, int]]:
    """First row and length of each run of True."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], mask, [False]])))
    return [(int(a), int(b - a)) for a, b in zip(edges[::2], edges[1::2], strict=True)]


def split_rows(table: Table, config: ForecastDataset) -> dict[Part, tuple[int, int]]:
    """First and one past the last row of each part; each holds at least one window."""
    rows, window = len(table.values), config.lookback + config.horizon
    sizes = config.split.sizes(rows)
    bounds = np.cumsum([0, *sizes]).tolist()
    if bounds[-1] > rows:
        raise UserError(
            f"{table.file}: has {rows} rows, but split.rows asks for {bounds[-1]}; lower `split`"
        )
    names: tuple[Part, ...] = ("train", "validation", "test")
    needs = (window, config.horizon, config.horizon)
    for name, size, need in zip(names, sizes, needs, strict=True):
        if size < need:
            raise UserError(
                f"{table.file}: too short: {rows} rows leave {size} for {name}, which needs at "
                f"least {need} (lookback {config.lookback}, horizon {config.horizon}); bring more "
                "rows, lower `lookback` or `horizon`, or change `split`"
            )
    return dict(zip(names, pairwise(bounds), strict=True))


def constants(table: Table, config: ForecastDataset, train: tuple[int, int]) -> None:
    """Every column varies over the training rows; else it has no scale to be learnt."""
    names = flat_columns(table, train)
    if not names:
        return
    every = len(names) == len(table.values.columns)
    if config.constant_columns == "error" or every:
        value = table.values[names[0]].iloc[train[0]]
        what = (
            f"{table.file}: column {names[0]!r} is constant ({value:g}) over "
            f"the training rows {train[0]} to {train[1] - 1}"
        ) + (f", as are {len(names) - 1} more" if len(names) > 1 else "")
        advice = "set `constant_columns: drop`, or name the others in `columns`"
        if every:
            raise UserError(f"{what}; {advice}")
        raise Repairable(what, advice, "constant_columns", "drop")
    table.values = table.values.drop(columns=list(names))
    table.repairs.append(
        ColumnRepair("dropped", len(names), "constant over the training rows", names)
    )


def flat_columns(table: Table, train: tuple[int, int]) -> tuple[str, ...]:
    """Columns that do not vary over the training rows."""
    values = table.values.iloc[slice(*train)]
    # Rounding alone spreads equal numbers by about 1e-16 of their size.
    flat = values.std(ddof=0) <= 1e-12 * values.abs().max()
    return tuple(values.columns[flat.to_numpy()])


def _gap_message(table: Table, missing: np.ndarray, row: int, column: int) -> str:
    if not missing[row].all():
        name = table.values.columns[column]
        return (
            f"{table.at(row, name)}: the value is missing ({int(missing.sum())} missing in all); "
            "fix it, or set `gaps: interpolate` or `hold`"
        )
    length = next(length for first, length in runs(missing.all(1)) if first == row)
    fix = "set `gaps: interpolate` or `hold`"
    if _clock_change(table.times[row]):
        fix = "if these are local times with daylight saving set `timezone`, else " + fix
    return (
        f"{place(table.file, int(table.lines[row]))}: before it {length} rows are missing, from "
        f"{table.times[row]} on; {fix}"
    )


def _clock_change(time: pd.Timestamp) -> bool:
    """Whether clocks may be changed at a time: a Sunday night in spring or autumn."""
    return time.weekday() == 6 and time.hour <= 3 and time.month in (3, 4, 9, 10, 11)
