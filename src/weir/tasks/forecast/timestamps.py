"""Timestamps of a table: ISO 8601, a strptime format or epoch numbers, with or without a zone."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pandas as pd

from weir.errors import UserError
from weir.tasks.forecast.dataset_config import ForecastDataset
from weir.tasks.forecast.schema import Repair
from weir.tasks.forecast.table import place

ISO = re.compile(
    r"\d{4}(?:[-/]?\d\d?(?:[-/]?\d\d?(?:[T ]\d\d?(?::?\d\d(?::?\d\d(?:[.,]\d+)?)?)?"
    r" ?(?P<offset>Z|[+-]\d\d(?::?\d\d)?)?)?)?)?"
)
"""An ISO 8601 timestamp, or one with slashes; pandas alone accepts stranger ones."""


def read_times(
    column: pd.Series,
    file: Path,
    lines: np.ndarray,
    config: ForecastDataset,
    repairs: list[Repair],
) -> pd.DatetimeIndex:
    """The timestamps of a column, without zone; a conversion to UTC is added to `repairs`.

    Raises:
        UserError: a timestamp is missing, unreadable or ambiguous; one line.
    """
    empty = column.isna().to_numpy()
    if empty.any():
        line = int(lines[empty.argmax()])
        raise UserError(
            f"{place(file, line)}: column {column.name!r} holds no timestamp; remove the row"
        )
    times = _parse(column, file, lines, config)
    if times.tz is not None:
        if config.timezone is not None:
            raise UserError(f"{file}: the timestamps carry a UTC offset already; remove `timezone`")
        repairs.append(Repair("utc", len(times), "timestamps with an offset, as UTC"))
        return times.tz_convert("UTC").tz_localize(None)
    if config.timezone is not None:
        times = _local_to_utc(times, file, lines, config.timezone)
        repairs.append(Repair("utc", len(times), f"local times of {config.timezone} into UTC"))
    return times


def _parse(
    column: pd.Series, file: Path, lines: np.ndarray, config: ForecastDataset
) -> pd.DatetimeIndex:
    if pd.api.types.is_datetime64_any_dtype(column):
        return pd.DatetimeIndex(column).as_unit("ns")
    epoch = re.fullmatch(r"epoch (s|ms)", config.time_format or "")
    if epoch:
        numbers = pd.to_numeric(column, errors="coerce")
        parsed = pd.to_datetime(numbers, unit=epoch[1], errors="coerce")
        wanted = f"a number of {epoch[1]} since 1970"
    else:
        text = column.astype(str)
        style = config.time_format or "ISO8601"
        zoned = "%z" in style
        if style == "ISO8601":
            zoned = _all_zoned(text, file, lines)
            text = text.where(text.str.fullmatch(ISO))
        parsed = pd.to_datetime(text, format=style, utc=zoned, errors="coerce")
        if pd.api.types.is_numeric_dtype(column) and not config.time_format:
            parsed = parsed.mask(parsed.notna())
        wanted = "an ISO 8601 timestamp" if style == "ISO8601" else f"of the form {style!r}"
    bad = parsed.isna().to_numpy()
    if bad.any():
        row = int(bad.argmax())
        raise UserError(
            f"{place(file, int(lines[row]))}: column {column.name!r} holds "
            f"{str(column.iloc[row])!r}, which is not {wanted}; set `time_format` "
            "(strptime, 'epoch s' or 'epoch ms') or mend the row"
        )
    return pd.DatetimeIndex(parsed)


def _all_zoned(text: pd.Series, file: Path, lines: np.ndarray) -> bool:
    """Whether ISO timestamps carry a UTC offset: all do, or none."""
    offset = text.str.extract(f"^{ISO.pattern}$", expand=True)["offset"].notna()
    if offset.any() and not offset.all():
        odd = int((offset != offset.iloc[0]).to_numpy().argmax())
        raise UserError(
            f"{place(file, int(lines[odd]))}: {text.iloc[odd]!r}: some timestamps carry a UTC "
            "offset and some do not; write all of them alike"
        )
    return bool(offset.all())


def _local_to_utc(
    times: pd.DatetimeIndex, file: Path, lines: np.ndarray, timezone: str
) -> pd.DatetimeIndex:
    """Wall-clock times in UTC; in the doubled hour of autumn the first pass is summer time."""
    summer = ~times.duplicated(keep="first")
    local = times.tz_localize(timezone, ambiguous=summer, nonexistent="NaT")
    unsure = times.tz_localize(timezone, ambiguous="NaT", nonexistent="NaT").isna()
    lone = unsure & ~times.duplicated(keep=False)
    for wrong, what in (
        (local.isna(), "does not exist (clocks go forward)"),
        (lone & local.notna(), "occurs twice (clocks go back) but the file has it once"),
    ):
        if wrong.any():
            row = int(wrong.argmax())
            raise UserError(
                f"{place(file, int(lines[row]))}: local time {times[row]} {what} in {timezone}; "
                "export the times in UTC, or remove `timezone` if they are regular"
            )
    return local.tz_convert("UTC").tz_localize(None)
