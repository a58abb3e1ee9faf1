"""A user's table is recognised, and the proposed node preprocesses it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from weir.errors import UserError
from weir.tasks.forecast.preprocessing.describe import Proposal, describe


def proposal(folder: Path, frame: pd.DataFrame, name: str = "mine.csv", **style) -> Proposal:
    file = folder / name
    if name.endswith(".parquet"):
        frame.to_parquet(file)
    else:
        frame.to_csv(file, index=False, **style)
    found = describe(file)
    assert found.node["source"]["path"] == str(file)
    assert not any("\n" in note for note in found.notes)
    return found


def test_a_clean_table_needs_few_settings(tmp_path, table):
    found = proposal(tmp_path, table)
    del found.node["source"]
    assert found.node == {
        "task": "forecast",
        "frequency": "1h",
        "cycle": 24,
        "lookback": 3,
        "horizon": 3,
    }
    assert found.notes == ()
    assert found.usable


def test_a_messy_table_gets_its_repairs(tmp_path, table):
    messy = table.assign(c=1.0, note="ok").astype(object)
    messy.loc[5, "a"] = -9999
    messy = pd.concat([messy.drop(range(20, 29)), messy.iloc[[40]]])
    found = proposal(tmp_path, messy)
    wanted = {
        "sentinels": [-9999],
        "order": "sort",
        "duplicates": "first",
        "gaps": "interpolate",
        "max_gap": 9,
        "constant_columns": "drop",
    }
    assert {key: found.node[key] for key in wanted} == wanted
    assert found.usable
    topics = [note.partition(":")[0] for note in found.notes]
    assert topics == ["left out", "sentinels", "order", "duplicates", "gaps", "constant_columns"]


def test_a_european_table_is_recognised(tmp_path, table):
    table["date"] = pd.to_datetime(table.date).dt.strftime("%d.%m.%Y %H:%M")
    table = table.rename(columns={"date": "Zeit", "a": "T (°C)"})
    found = proposal(tmp_path, table, sep=";", decimal=",", encoding="latin-1")
    wanted = {
        "time_column": "Zeit",
        "time_format": "%d.%m.%Y %H:%M",
        "encoding": "latin-1",
        "separator": ";",
        "decimal": ",",
        "frequency": "1h",
    }
    assert {key: found.node.get(key) for key in wanted} == wanted
    assert found.usable


@pytest.mark.parametrize(
    ("frequency", "cycle"),
    [("15min", 96), ("10s", 8640), ("1h", 24), ("3h", 8), ("1D", 7), ("7D", None), ("MS", 12)],
)
def test_frequency_and_cycle(tmp_path, table, frequency, cycle):
    table["date"] = pd.date_range("2024-01-01", periods=60, freq=frequency)
    found = proposal(tmp_path, table, "mine.parquet")
    assert found.node["frequency"] == frequency
    assert found.node.get("cycle") == cycle
    assert found.usable


@pytest.mark.parametrize(("unit", "factor"), [("s", 3600), ("ms", 3_600_000)])
def test_epoch_numbers_are_recognised(tmp_path, table, unit, factor):
    start = {"s": 1_700_000_000, "ms": 1_700_000_000_000}[unit]
    table["date"] = start + factor * np.arange(60)
    found = proposal(tmp_path, table)
    assert found.node["time_format"] == f"epoch {unit}"
    assert found.usable


def test_day_and_month_are_told_apart_by_regularity(tmp_path, table):
    table["date"] = pd.date_range("2024-01-01", periods=60, freq="3h").strftime("%d/%m/%Y %H:%M")
    found = proposal(tmp_path, table)
    assert found.node["time_format"] == "%d/%m/%Y %H:%M"
    assert "reads as %d/%m/%Y %H:%M and as %m/%d/%Y %H:%M" in found.notes[0]
    assert found.node["frequency"] == "3h"


def test_what_stands_in_the_way_is_noted(tmp_path, table):
    found = proposal(tmp_path, table.astype(object).assign(b=[None] * 5 + list(range(55))))
    assert not found.usable
    assert "not usable yet" in found.notes[-1]
    assert "the series starts with 5 missing values" in found.notes[-1]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("mine.csv", b"", r"mine\.csv cannot be read \(No columns"),
        ("mine.csv", b"date,a\n", r"mine\.csv has no rows"),
        ("mine.csv", b"x,a\nb,1\nc,2\n", r"no column reads as timestamps among 'x', 'a'"),
        ("mine.csv", b"date,a\n2024-01-01,1\n2024-01-02,2\n", r"2 timestamps are too few"),
        ("mine.xls", b"x", "unknown kind of file"),
        ("mine.parquet", b"x", r"mine\.parquet cannot be read"),
    ],
)
def test_a_hopeless_file_is_one_clear_line(tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError, match=message):
        describe(tmp_path / name)
    with pytest.raises(UserError, match="does not exist"):
        describe(tmp_path / "other.csv")
