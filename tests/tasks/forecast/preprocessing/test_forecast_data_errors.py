"""Every flaw of a table is one line that says what, where and which setting fixes it."""

from __future__ import annotations

import re

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from weir.errors import UserError
from weir.tasks.forecast.settings.dataset import FREQUENCY, ForecastDataset

NODE = {"task": "forecast", "source": {"simulator": {}}, "frequency": "1h"}


def put(table: pd.DataFrame, row: int, column: str, value: object) -> pd.DataFrame:
    """The table with one cell changed."""
    changed = table.astype(object)
    changed.loc[row, column] = value
    return changed


FLAWS = {
    "no time column": (
        lambda t: t.rename(columns={"date": "when"}),
        r"series\.csv: there is no time column 'date' among 'when', 'a', 'b'; set `time_column`",
    ),
    "asked column is missing": (
        lambda t: t,
        {"columns": ["a", "c"]},
        r"there is no column 'c' among 'date', 'a', 'b'; fix `columns`",
    ),
    "unparsable time": (
        lambda t: put(t, 7, "date", "yesterday"),
        r"line 9: column 'date' holds 'yesterday', which is not an ISO 8601.*`time_format`",
    ),
    "no time": (lambda t: put(t, 7, "date", None), r"line 9: .*'date' holds no timestamp; remove"),
    "time of another format": (
        lambda t: t,
        {"time_format": "%d.%m.%Y %H:%M"},
        r"line 2: .*not of the form '%d\.%m\.%Y %H:%M'; set `time_format`",
    ),
    "mixed offsets": (
        lambda t: put(t, 7, "date", "2024-01-01 07:00:00+01:00"),
        r"line 9: '2024-01-01 07:00:00\+01:00': some timestamps carry a UTC offset and some do not",
    ),
    "text in a numeric column": (
        lambda t: put(t, 7, "b", "broken"),
        r"line 9: column 'b' holds 'broken', not a number; fix it, .*`columns`",
    ),
    "text column asked for": (
        lambda t: t.assign(c="x"),
        {"columns": ["a", "c"]},
        r"line 2: column 'c' holds 'x', not a number",
    ),
    "no numeric column": (lambda t: t[["date"]].assign(c="x"), r"no numeric column beside 'date'"),
    "missing cell": (
        lambda t: put(t, 7, "b", None),
        r"line 9, column 'b' \(2024-01-01 07:00:00\): the value is missing \(1 .*`gaps:",
    ),
    "missing rows": (
        lambda t: t.drop([7, 8]),
        r"line 9: before it 2 rows are missing, from 2024-01-01 07:00:00 on; set `gaps:",
    ),
    "gap longer than max_gap": (
        lambda t: t.drop([7, 8, 9]),
        {"gaps": "hold", "max_gap": 2},
        r"\(2024-01-01 07:00:00\): 3 values are missing in a row, max_gap is 2; .*raise `max_gap`",
    ),
    "missing at the start": (
        lambda t: put(t, 0, "a", None),
        {"gaps": "hold"},
        r"line 2, column 'a' .*: the series starts with 1 missing values, which cannot be filled",
    ),
    "missing at the end": (
        lambda t: put(t, 59, "a", None),
        {"gaps": "interpolate"},
        r"line 61, column 'a' .*: the series ends with 1 missing values, which cannot be filled",
    ),
    "duplicated timestamp": (
        lambda t: put(t, 7, "date", t.date[6]),
        r"line 9 \(2024-01-01 06:00:00\): the timestamp stands twice \(1 .*`duplicates: first`",
    ),
    "stacked series": (
        lambda t: pd.concat([t, t]).sort_values("date"),
        r"if the file stacks several series, write one column for each",
    ),
    "time goes back": (
        lambda t: t.iloc[[*range(7), 8, 7, *range(9, 60)]],
        r"line 10 \(2024-01-01 07:00:00\): the time goes back from 2024-01-01 08:00:00; sort",
    ),
    "off the grid": (
        lambda t: put(t, 7, "date", "2024-01-01 07:00:10"),
        r"line 9 .*: not on the grid of every 1h from 2024-01-01 00:00:00; most rows are "
        r"0 days 01:00:00 apart; set `frequency`",
    ),
    "finer than the frequency": (
        lambda t: t,
        {"frequency": "1D"},
        r"line 3 .*: not on the grid of every 1D .*most rows are 0 days 01:00:00 apart",
    ),
    "undeclared sentinel": (
        lambda t: put(put(t, 7, "b", -9999), 9, "b", -9999),
        r"line 9, column 'b' .*: -9999 is far .*\(2 such cells\); set `sentinels: \[-9999\]`",
    ),
    "infinity": (
        lambda t: put(t, 7, "b", "inf"),
        r"line 9, column 'b' .*: the value is infinite; leave the cell empty and set `gaps`",
    ),
    "constant column": (
        lambda t: t.assign(c=4.5),
        r"'c' is constant \(4\.5\) over the training rows 0 to 41; .*`constant_columns: drop`",
    ),
    "constant in training only": (
        lambda t: t.assign(c=[1.0] * 42 + list(range(18))),
        r"column 'c' is constant \(1\) over the training rows",
    ),
    "all columns constant": (
        lambda t: t.assign(a=1.0, b=2.0),
        {"constant_columns": "drop"},
        r"column 'a' is constant \(1\) .*, as are 1 more",
    ),
    "too short for the windows": (
        lambda t: t,
        {"lookback": 48},
        r"too short: 60 rows leave 42 for train, which needs at least 51 \(lookback 48, horizon 3",
    ),
    "too short for validation": (
        lambda t: t,
        {"horizon": 7},
        r"60 rows leave 6 for validation, which needs at least 7",
    ),
    "split longer than the file": (
        lambda t: t,
        {"split": {"rows": [50, 10, 10]}},
        r"has 60 rows, but split\.rows asks for 70; lower `split`",
    ),
    "zone on top of an offset": (
        lambda t: t.assign(date=t.date + "Z"),
        {"timezone": "Europe/Berlin"},
        r"the timestamps carry a UTC offset already; remove `timezone`",
    ),
    "a variable named time": (
        lambda t: t.rename(columns={"a": "time"}),
        r"a variable is named 'time'; rename it",
    ),
}


@pytest.mark.parametrize("flaw", FLAWS)
def test_a_flawed_table_is_one_clear_line(process, table, flaw):
    change, *rest = FLAWS[flaw]
    node = rest[0] if len(rest) == 2 else {}
    with pytest.raises(UserError, match=rest[-1]) as error:
        process(change(table), **node)
    assert "\n" not in str(error.value)
    assert "series.csv" in str(error.value)


FILES = {
    "empty": ("series.csv", b"", {}, r"series\.csv is empty"),
    "header only": ("series.csv", b"date,a\n", {}, r"has a header and no rows"),
    "leading empty line": ("series.csv", b"\ndate,a\n", {}, r"starts with an empty line"),
    "empty line inside": (
        "series.csv",
        b"date,a\n2024-01-01 00:00,1\n\n2024-01-01 01:00,2\n",
        {},
        r"line 3: column 'date' holds no timestamp",
    ),
    "wrong separator": (
        "series.csv",
        b"date;a\n2024-01-01 00:00;1\n",
        {},
        r"set `separator` \(only one column was found\)",
    ),
    "too many cells": (
        "series.csv",
        b"date,a\n2024-01-01 00:00,1\n2024-01-01 01:00,2,3\n",
        {},
        r"no readable CSV \(Expected 2 fields in line 3, saw 3\)",
    ),
    "too many cells from the first row": (
        "series.csv",
        b"date,a\n2024-01-01 00:00,1,2\n2024-01-01 01:00,2,3\n",
        {},
        r"no readable CSV \(Length of header or names does not match",
    ),
    "column twice": ("series.csv", b"date,a,a\n", {}, r"column 'a' stands twice in the header"),
    "wrong encoding": (
        "series.csv",
        "date,T\n2024-01-01 00:00,1\n2024-01-01 01:00,20°\n".encode("latin-1"),
        {},
        r"line 3: byte 0xb0 is not valid utf-8; set `encoding`, e\.g\. latin-1",
    ),
    "wrong encoding in the header": (
        "series.csv",
        "date,T°\n2024-01-01 00:00,1\n".encode("latin-1"),
        {},
        r"line 1: byte 0xb0 is not valid utf-8",
    ),
    "unknown extension": ("series.xlsx", b"PK", {}, r"unknown kind of file '\.xlsx'; convert"),
    "corrupt parquet": ("series.parquet", b"PAR1 or not", {}, r"is no readable Parquet file"),
    "corrupt gzip": ("series.csv.gz", b"no gzip", {}, r"is no readable CSV"),
}


@pytest.mark.parametrize("flaw", FILES)
def test_an_unreadable_file_is_one_clear_line(process, flaw):
    name, content, node, message = FILES[flaw]
    with pytest.raises(UserError, match=message) as error:
        process(content, name, **node)
    assert "\n" not in str(error.value)
    assert name in str(error.value)


def test_rows_of_a_parquet_file_count_from_one(process, table):
    table.loc[7, "b"] = np.inf
    with pytest.raises(UserError, match=r"series\.parquet, row 8, column 'b'"):
        process(table, "series.parquet")


def test_numbers_are_no_timestamps_unless_said_so(process, table):
    table["date"] = np.arange(60) * 3600
    with pytest.raises(UserError, match=r"row 1: .*holds '0'.*set `time_format`"):
        process(table, "series.parquet")
    data = process(table, "series.parquet", time_format="epoch s")
    assert data.schema.first_time == "1970-01-01T00:00:00"


@pytest.mark.parametrize(
    ("local", "message"),
    [
        ("2024-03-31 02:00", r"2024-03-31 02:00:00 does not exist \(clocks go forward\)"),
        ("2024-10-27 02:00", r"2024-10-27 02:00:00 occurs twice .* but the file has it once"),
    ],
)
def test_local_times_that_do_not_exist_or_are_ambiguous(process, table, local, message):
    table["date"] = pd.date_range(local, periods=60, freq="1h").astype(str)
    with pytest.raises(UserError, match=message):
        process(table, timezone="Europe/Berlin")


@pytest.mark.parametrize("night", ["2024-03-31", "2024-10-27"])
def test_a_gap_or_repeat_at_a_clock_change_points_to_the_zone(process, table, night):
    start = pd.Timestamp(night, tz="Europe/Berlin") - pd.Timedelta("10h")
    local = pd.date_range(start, periods=60, freq="1h").tz_localize(None)
    table["date"] = local.astype(str)
    with pytest.raises(UserError, match="daylight saving set `timezone`"):
        process(table, order="sort")


@pytest.mark.parametrize(
    ("setting", "value", "message"),
    [
        ("frequency", "hourly", "is no frequency"),
        ("frequency", "0h", "is no frequency"),
        ("timezone", "Berlin", "is no IANA time zone"),
        ("encoding", "utf-9", "is no known text encoding"),
        ("columns", ["a", "a"], "names a column twice"),
        ("columns", ["date"], "must not name the time column"),
        ("columns", [], "at least 1 item"),
        ("split", {"ratios": [0.7, 0.1, 0.1]}, "ratios must sum to 1, not 0.9"),
        ("split", {}, "either `rows` or `ratios`"),
        ("lookback", 0, "greater than 0"),
        ("gaps", "guess", "'error', 'interpolate' or 'hold'"),
        ("source", {"path": "a.csv"}, "Field required"),
        ("source", {"url": "ftp://x/a.csv", "sha256": "0" * 64}, "should match pattern"),
        ("source", {"sha256": "0" * 64}, "either `path`, or `url` and/or `mirror`"),
        ("source", {"mirror": "../a", "sha256": "0" * 64}, "without '..'"),
        ("source", {"path": "d", "sha256": {"a": "0" * 64, "b": "1" * 64}}, "must name one file"),
        ("source", {"simulator": {"degrees_of_freedom": 2}}, "greater than 2"),
        ("sentinels", [float("nan")], "finite number"),
        ("speed", 1, "Extra inputs"),
    ],
)
def test_a_wrong_setting_is_refused(setting, value, message):
    with pytest.raises(ValidationError, match=re.escape(message)):
        ForecastDataset.model_validate(NODE | {setting: value})


@pytest.mark.parametrize("frequency", ["10min", "1h", "D", "15s", "W-MON", "MS", "2QS", "B", "5ms"])
def test_accepted_frequencies_are_known_to_pandas(frequency):
    assert FREQUENCY.match(frequency)
    assert len(pd.date_range("2024-01-01", periods=3, freq=frequency)) == 3


CELLS = st.sampled_from(
    [
        "",
        "1",
        "-9999",
        "inf",
        "nan",
        "x",
        '"',
        "2024-01-01",
        "2024-01-02 00:00Z",
        "é",
        "\0",
        "1e400",
    ]
)
LINES = st.lists(st.lists(CELLS, min_size=1, max_size=4).map(",".join), max_size=8)


@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(lines=LINES, header=st.sampled_from(["date,a", "date,a,b", "a,date", "date", ""]))
def test_no_text_whatever_ends_in_anything_but_a_clear_line(process, lines, header):
    with pytest.raises(UserError) as error:
        process("\n".join([header, *lines]).encode(), frequency="1D")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("odd", ["2024-01-01Z:00", "2024-01-01 05-0:00", "7", "2024-01-01 7 am"])
def test_stranger_timestamps_than_iso_8601_are_refused(process, table, odd):
    with pytest.raises(UserError, match=rf"line 9: column 'date' holds '{odd}', which is not an"):
        process(put(table, 7, "date", odd))


@pytest.mark.parametrize("style", ["%Y/%m/%d %H:%M", "%Y%m%dT%H%M%S", "%Y-%m-%dT%H:%M:%S.%f"])
def test_the_common_spellings_of_iso_8601_are_read(process, table, style):
    table["date"] = pd.to_datetime(table.date).dt.strftime(style)
    assert process(table).schema.first_time == "2024-01-01T00:00:00"
