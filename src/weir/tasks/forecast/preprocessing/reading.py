"""A user's CSV or Parquet table, read strictly: times and float64 columns, or one clear line.

Timestamps are ISO 8601, of a strptime format or epoch numbers, with or without a zone.
"""

from __future__ import annotations

import csv
import gzip
import re
import warnings
import zlib
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from weir.artifacts.schema_file import ColumnRepair
from weir.errors import UserError
from weir.tasks.forecast.settings.dataset import ForecastDataset


@dataclass
class Table:
    """Timestamps and columns of a raw file.

    Attributes:
        file: the raw file, for messages.
        times: `[row]` timestamps without zone; UTC where the file says how to convert.
        values: `[row, variable]` float64, missing cells NaN.
        lines: `[row]` line of the CSV or row of the Parquet file.
        repairs: what has been changed so far.
    """

    file: Path
    times: pd.DatetimeIndex
    values: pd.DataFrame
    lines: np.ndarray
    repairs: list[ColumnRepair] = field(default_factory=list)

    def keep(self, rows: np.ndarray) -> None:
        """Keep the rows of an index or mask, in its order."""
        self.times = self.times[rows]
        self.values = self.values.iloc[np.flatnonzero(rows) if rows.dtype == bool else rows]
        self.lines = self.lines[rows]

    def at(self, row: int, column: str | None = None) -> str:
        """Where a row (and a cell in it) lies, for messages."""
        cell = "" if column is None else f", column {column!r}"
        return f"{place(self.file, int(self.lines[row]))}{cell} ({self.times[row]})"


def place(file: Path, line: int) -> str:
    """`file, line n` of a text, `file, row n` of a Parquet file; both count from 1."""
    return f"{file}, {'row' if file.suffix == '.parquet' else 'line'} {line}"


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
    repairs: list[ColumnRepair],
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
        repairs.append(ColumnRepair("utc", len(times), "timestamps with an offset, as UTC"))
        return times.tz_convert("UTC").tz_localize(None)
    if config.timezone is not None:
        times = _local_to_utc(times, file, lines, config.timezone)
        repairs.append(
            ColumnRepair("utc", len(times), f"local times of {config.timezone} into UTC")
        )
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
            "(strptime, 'epoch s' or 'epoch ms') or fix the row"
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


SUFFIXES = (".csv", ".csv.gz", ".parquet")
DAMAGE = (csv.Error, EOFError, OSError, zlib.error)
"""What a damaged text or gzip raises."""


def read_table(file: Path, config: ForecastDataset) -> Table:
    """Read a raw file as `config` describes it.

    Raises:
        UserError: the file, its time column or its numbers cannot be read; one line.
    """
    if not file.name.endswith(SUFFIXES):
        raise UserError(
            f"{file}: unknown kind of file {file.suffix!r}; convert it to one of "
            f"{', '.join(SUFFIXES)}"
        )
    if file.suffix == ".parquet":
        frame, first_line = _read_parquet(file, config), 1
    else:
        frame, first_line = _read_csv(file, config), 2
    # Empty lines at the end are harmless; an empty one in between is reported as such.
    frame = frame.iloc[: np.flatnonzero(frame.notna().any(axis=1))[-1] + 1]
    lines = np.arange(len(frame)) + first_line
    repairs: list[ColumnRepair] = []
    times = read_times(frame[config.time_column], file, lines, config, repairs)
    values = _numbers(frame.drop(columns=config.time_column), file, lines, config, repairs)
    return Table(file, times, values, lines, repairs)


def _need_columns(file: Path, found: list[str], config: ForecastDataset) -> None:
    """The time column and the asked columns exist, and no name stands twice."""
    listed = ", ".join(map(repr, found[:8])) + (", ..." if len(found) > 8 else "")
    twice = sorted({name for name in found if found.count(name) > 1})
    if twice:
        raise UserError(f"{file}: column {twice[0]!r} stands twice in the header; rename one")
    if config.time_column not in found:
        hint = "set `time_column`"
        if len(found) == 1 and file.suffix != ".parquet":
            hint = "set `separator` (only one column was found) or `time_column`"
        raise UserError(
            f"{file}: there is no time column {config.time_column!r} among {listed}; {hint}"
        )
    for name in config.columns or []:
        if name not in found:
            raise UserError(f"{file}: there is no column {name!r} among {listed}; fix `columns`")


def _read_parquet(file: Path, config: ForecastDataset) -> pd.DataFrame:
    try:
        table = pq.read_table(file)
    except FileNotFoundError:
        raise UserError(f"{file} does not exist; rerun weir fetch") from None
    except (pa.ArrowException, OSError) as error:
        text = str(error).splitlines()[0]
        raise UserError(f"{file} is no readable Parquet file ({text}); export it again") from None
    if table.num_rows == 0:
        raise UserError(f"{file} has no rows; export it again")
    _need_columns(file, table.column_names, config)
    return table.to_pandas(ignore_metadata=True)


def _read_csv(file: Path, config: ForecastDataset) -> pd.DataFrame:
    encoding = "utf-8-sig" if config.encoding.lower() in ("utf-8", "utf8") else config.encoding
    opened = gzip.open if file.suffix == ".gz" else open
    try:
        with opened(file, "rt", encoding=encoding, newline="") as text:
            header = next(csv.reader(text, delimiter=config.separator), [])
            if not any(header):
                raise UserError(f"{file} is empty or starts with an empty line; export it again")
        _need_columns(file, header, config)
        with warnings.catch_warnings():
            # pandas only warns when rows have more cells than the header.
            warnings.simplefilter("error", pd.errors.ParserWarning)
            frame = pd.read_csv(
                file,
                sep=config.separator,
                decimal=config.decimal,
                encoding=encoding,
                dtype={config.time_column: str},
                index_col=False,
                skip_blank_lines=False,
                low_memory=False,
                float_precision="round_trip" if config.decimal == "." else None,
            )
    except FileNotFoundError:
        raise UserError(f"{file} does not exist; rerun weir fetch") from None
    except UnicodeDecodeError:
        raise _wrong_encoding(file, config.encoding) from None
    except (pd.errors.ParserError, pd.errors.ParserWarning, *DAMAGE) as error:
        text = str(error).splitlines()[0].removeprefix("Error tokenizing data. C error: ")
        raise UserError(
            f"{file} is no readable CSV ({text}); fix the file or set `separator`"
        ) from None
    if frame.dropna(how="all").empty:
        raise UserError(f"{file} has a header and no rows; export it again")
    return frame


def _wrong_encoding(file: Path, encoding: str) -> UserError:
    data = file.read_bytes()
    data = gzip.decompress(data) if file.suffix == ".gz" else data
    try:
        data.decode(encoding)
        where, what = str(file), "text"
    except UnicodeDecodeError as error:
        where = place(file, data.count(b"\n", 0, error.start) + 1)
        what = f"byte 0x{data[error.start]:02x}"
    other = "latin-1" if encoding.lower().startswith("utf") else "utf-8"
    return UserError(f"{where}: {what} is not valid {encoding}; set `encoding`, e.g. {other}")


def _numbers(
    frame: pd.DataFrame,
    file: Path,
    lines: np.ndarray,
    config: ForecastDataset,
    repairs: list[ColumnRepair],
) -> pd.DataFrame:
    """The columns to forecast as float64; unless named, text and nameless ones are left out."""
    columns: dict[str, pd.Series] = {}
    for name in config.columns or frame.columns:
        column = frame[name]
        numeric = pd.api.types.is_numeric_dtype(column) and column.dtype != bool
        parsed = column if numeric else pd.to_numeric(column.astype(object), errors="coerce")
        bad = (parsed.isna() & column.notna()).to_numpy()
        if column.dtype == bool:
            bad[:] = True
        if config.columns is None:
            # pandas names a nameless column so; it is a row number that was written along.
            reason = "no name" if name.startswith("Unnamed: ") else None
            reason = "no numbers" if bad.sum() == column.notna().sum() else reason
            if reason:
                repairs.append(ColumnRepair("left out", len(column), reason, (name,)))
                continue
        if bad.any():
            row = int(bad.argmax())
            raise UserError(
                f"{place(file, int(lines[row]))}: column {name!r} holds "
                f"{str(column.iloc[row])!r}, not a number; fix it, set `decimal`, "
                "or list the numeric ones in `columns`"
            )
        columns[name] = parsed.astype("float64")
    if not columns:
        raise UserError(f"{file}: no numeric column beside {config.time_column!r}; set `columns`")
    return pd.DataFrame(columns)
