"""Proposal of a `datasets` node for a user's table, for `weir data add FILE --name NAME`."""

from __future__ import annotations

import gzip
import warnings
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from weir.errors import UserError
from weir.files import file_digest
from weir.tasks.forecast.preprocessing.checks import (
    clean,
    constants,
    duplicates,
    grid,
    order,
    runs,
    sentinels,
    split_rows,
    suspicious,
)
from weir.tasks.forecast.preprocessing.reading import SUFFIXES, Table, read_table
from weir.tasks.forecast.settings.dataset import ForecastDataset
from weir.tasks.proposal import Proposal, rehearse

DATES = ("%d.%m.%Y", "%d/%m/%Y", "%m/%d/%Y", "%d-%m-%Y", "%Y%m%d")
CLOCKS = ("", " %H:%M", " %H:%M:%S", "T%H:%M:%S", " %H:%M:%S.%f")
EPOCHS = {"epoch s": (1e8, 4e9), "epoch ms": (1e11, 4e12)}
"""Numbers that are seconds or milliseconds of the years 1973 to 2096."""

PEEK = 2000
"""Rows looked at to recognise the time column."""


def describe(file: Path) -> Proposal:
    """Propose a node for a CSV or Parquet file, with the repairs that it needs.

    Raises:
        UserError: no table with a time column can be read from the file; one line.
    """
    if not file.is_file():
        raise UserError(f"{file} does not exist or is no file; fix the path")
    if not file.name.endswith(SUFFIXES):
        raise UserError(f"{file}: unknown kind of file; convert it to {', '.join(SUFFIXES)}")
    notes: list[str] = []
    sha256 = file_digest(file)
    node: dict[str, Any] = {
        "task": "forecast",
        "source": {"path": str(file), "sha256": sha256},
    }
    style = {} if file.suffix == ".parquet" else _text_style(file, notes)
    peek = _peek(file, style)
    node |= _time_style(file, peek, notes) | style
    table = read_table(file, ForecastDataset.model_validate(node | {"frequency": "1D"}))
    node |= _rhythm(table)
    repairs, rows = _repairs(file, node, notes)
    node |= repairs | _windows(rows, node)
    table = rehearse(lambda node: _checks(file, node), node, notes)
    return Proposal(node, tuple(notes), table is not None)


def _text_style(file: Path, notes: list[str]) -> dict[str, str]:
    """Encoding, separator and decimal mark where they differ from utf-8, comma and point."""
    data = file.read_bytes()
    data = gzip.decompress(data) if file.suffix == ".gz" else data
    style: dict[str, str] = {}
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        style["encoding"] = "utf-16" if data[:2] in (b"\xff\xfe", b"\xfe\xff") else "latin-1"
        text = data.decode(style["encoding"], errors="replace")
        notes.append(f"it is not utf-8; encoding {style['encoding']} is a guess")
    if "�" in text:
        notes.append("some letters were lost in an earlier conversion (shown as �)")
    header, *body = text[: 1 << 16].splitlines() or [""]
    separator = max(",;\t|", key=header.count)
    if separator != "," and separator in header:
        style["separator"] = separator
        cells = [cell for line in body[:50] for cell in line.split(separator)]
        commas = sum(
            cell.strip().replace(",", "", 1).lstrip("-").isdigit() for cell in cells if "," in cell
        )
        if commas:
            style["decimal"] = ","
    return style


def _peek(file: Path, style: dict[str, str]) -> pd.DataFrame:
    """The first rows of a table, as text."""
    try:
        if file.suffix == ".parquet":
            batch = next(pq.ParquetFile(file).iter_batches(PEEK), None)
            frame = None if batch is None else batch.to_pandas()
        else:
            with warnings.catch_warnings():
                # Rows with more cells than the header are refused when the whole is read.
                warnings.simplefilter("ignore", pd.errors.ParserWarning)
                frame = pd.read_csv(
                    file,
                    sep=style.get("separator", ","),
                    encoding=style.get("encoding", "utf-8-sig"),
                    dtype=str,
                    index_col=False,
                    nrows=PEEK,
                )
    except (ValueError, OSError, pa.ArrowException) as error:
        text = str(error).splitlines()[0]
        raise UserError(f"{file} cannot be read ({text}); export it again") from None
    if frame is None or frame.empty:
        raise UserError(f"{file} has no rows; export it again")
    return frame


def _time_style(file: Path, peek: pd.DataFrame, notes: list[str]) -> dict[str, str]:
    """The time column and its format: the first column that reads as timestamps throughout."""
    found: dict[str, dict[str, str]] = {}
    for name in peek.columns:
        column = peek[name].dropna()
        styles = _formats(column) if len(column) else []
        if styles:
            style = {} if styles[0] == "ISO8601" else {"time_format": styles[0]}
            found[str(name)] = {"time_column": str(name)} | style
            if len(styles) > 1:
                notes.append(
                    f"column {name!r} reads as {' and as '.join(styles)}; took the first, check it"
                )
    if not found:
        raise UserError(
            f"{file}: no column reads as timestamps among "
            f"{', '.join(map(repr, peek.columns[:8]))}; write the node by hand with "
            "`time_column` and `time_format`"
        )
    named = [name for name in found if name.lower() in ("date", "time", "datetime", "timestamp")]
    chosen = (named or list(found))[0]
    if len(found) > 1:
        notes.append(f"took {chosen!r} as the time column out of {', '.join(map(repr, found))}")
    return {
        key: value
        for key, value in found[chosen].items()
        if (key, value) != ("time_column", "date")
    }


def _formats(column: pd.Series) -> list[str]:
    """Formats in which all of a column reads as timestamps, the most regular first."""
    if pd.api.types.is_datetime64_any_dtype(column):
        return ["ISO8601"]
    numbers = pd.to_numeric(column, errors="coerce")
    if numbers.notna().all():
        inside = [name for name, (low, high) in EPOCHS.items() if numbers.between(low, high).all()]
        dates = pd.to_datetime(column.astype(str), format="%Y%m%d", errors="coerce")
        if inside and numbers.is_monotonic_increasing and numbers.nunique() > 0.5 * len(numbers):
            return inside[:1]
        return ["%Y%m%d"] if dates.between("1900", "2100").all() and dates.is_unique else []
    text = column.astype(str)
    if pd.to_datetime(text, format="ISO8601", errors="coerce", utc=True).notna().all():
        return ["ISO8601"]
    fits: dict[str, float] = {}
    for style in (date + clock for date in DATES for clock in CLOCKS):
        times = pd.to_datetime(text, format=style, errors="coerce")
        if times.notna().all():
            fits[style] = times.diff().dropna().nunique()
    return sorted(fits, key=lambda style: fits[style])


def _rhythm(table: Table) -> dict[str, Any]:
    """Frequency, from the commonest step between rows, and the cycle that goes with it."""
    times = table.times.sort_values().unique()
    if len(times) < 3:
        raise UserError(f"{table.file}: {len(times)} timestamps are too few to see a frequency")
    step = pd.Series(times).diff().mode()[0]
    days = step / pd.Timedelta(days=1)
    if 28 <= days <= 31:
        return {"frequency": "MS" if (times.day == 1).all() else "ME", "cycle": 12}
    if 365 <= days <= 366:
        return {"frequency": "YS" if (times.dayofyear == 1).all() else "YE"}
    for unit in ("D", "h", "min", "s", "ms"):
        count = step / pd.Timedelta(1, unit)
        if count == int(count):
            break
    frequency = f"{int(count)}{unit}"
    cycle = {1.0: 7}.get(days, round(1 / days) if days < 1 and (1 / days) % 1 == 0 else None)
    return {"frequency": frequency} | ({"cycle": cycle} if cycle else {})


def _repairs(file: Path, node: dict[str, Any], notes: list[str]) -> tuple[dict[str, Any], int]:
    """Repairs the table needs, found by going through the checks in their order; rows after."""
    wanted: dict[str, Any] = {}

    def config() -> ForecastDataset:
        return ForecastDataset.model_validate(node | wanted)

    table = read_table(file, config())
    notes += [f"{r.kind}: {', '.join(r.columns)} ({r.detail})" for r in table.repairs]
    codes: set[float] = set()
    for name in table.values.columns:
        column = table.values[name]
        while (code := suspicious(column)) is not None and column.nunique() > 1:
            codes.add(code)
            notes.append(f"sentinels: {name!r} holds {code:g} {int((column == code).sum())} times")
            column = column[column != code]
    if codes:
        wanted["sentinels"] = [int(c) if c.is_integer() else c for c in sorted(codes)]
    sentinels(table, config())
    if not table.times.is_monotonic_increasing:
        wanted["order"] = "sort"
        notes.append("order: rows go back in time and will be sorted")
        order(table, config())
    again = table.times.duplicated()
    if again.any():
        wanted["duplicates"] = "first"
        first = table.at(int(again.argmax()))
        notes.append(
            f"duplicates: {int(again.sum())} rows repeat a timestamp, the first at {first}"
        )
        duplicates(table, config())
    grid(table, config())
    missing = table.values.isna().to_numpy()
    if missing.any():
        longest = max(length for column in missing.T for _, length in runs(column))
        limit = max(24, node.get("cycle") or 0)
        notes.append(f"gaps: {int(missing.sum())} values are missing, {longest} in a row at most")
        if longest <= limit:
            wanted["gaps"] = "interpolate"
            if longest > ForecastDataset.model_fields["max_gap"].default:
                wanted["max_gap"] = longest
    return wanted, len(missing)


def _windows(rows: int, node: dict[str, Any]) -> dict[str, int]:
    """Lookback and horizon: 96 rows, or what a short series allows, in whole cycles if it can."""
    length = max(1, min(96, rows // 20))
    cycle = node.get("cycle") or 1
    length = length // cycle * cycle or length
    return {"lookback": length, "horizon": length}


def _checks(file: Path, node: dict[str, Any]) -> Table:
    """Go through all of preprocessing."""
    config = ForecastDataset.model_validate(node)
    table = read_table(file, config)
    clean(table, config)
    constants(table, config, split_rows(table, config)["train"])
    return table
