"""Each allowed repair does what its setting says, and is recorded."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from weir.tasks.forecast.preprocessing.checks import runs, suspicious


def raw(data) -> np.ndarray:
    """Values of loaded data on the raw scale."""
    return data.schema.scaler.restore(data.values.double()).numpy()


def kinds(data) -> list[tuple[str, int]]:
    """Kind and count of each recorded repair."""
    return [(repair.kind, repair.count) for repair in data.schema.repairs]


def test_missing_rows_are_interpolated_in_time(process, table):
    data = process(table.drop([10, 11, 12]), gaps="interpolate")
    a = table.a
    expected = a[9] + (a[13] - a[9]) * np.array([0.25, 0.5, 0.75])
    np.testing.assert_allclose(raw(data)[10:13, 0], expected, rtol=1e-5)
    assert kinds(data) == [("filled", 6)]
    assert "3 whole rows; longest run 3 rows" in data.schema.repairs[0].detail
    assert data.schema.rows == 60


def test_holding_looks_only_back(process, table):
    data = process(table.drop([10, 11]), gaps="hold")
    np.testing.assert_allclose(raw(data)[10:12], table[["a", "b"]].to_numpy()[[9, 9]], rtol=1e-5)
    ends = table.astype(object)
    ends.loc[58:, "a"] = None
    assert raw(process(ends, gaps="hold"))[59, 0] == pytest.approx(table.a[57], rel=1e-5)


def test_sentinels_become_missing_and_are_filled(process, table):
    changed = table.assign(a=table.a.where(table.index != 20, -9999.0))
    data = process(changed, sentinels=[-9999], gaps="interpolate")
    assert kinds(data) == [("sentinels", 1), ("filled", 1)]
    assert data.schema.repairs[0].columns == ("a",)
    assert raw(data)[20, 0] == pytest.approx((table.a[19] + table.a[21]) / 2, rel=1e-5)


def test_a_real_extreme_can_be_declared_real(process, table):
    changed = table.assign(a=table.a.where(table.index != 20, -9999.0))
    data = process(changed, sentinels=[])
    assert raw(data)[20, 0] == pytest.approx(-9999)
    assert data.schema.repairs == ()


@pytest.mark.parametrize(
    ("values", "found"),
    [
        ([1, 2, -9999, 3], -9999),
        ([300, 310, 999.9, 305], 999.9),
        ([1, 2, 1e20], 1e20),
        ([1, 2, -99999.99], -99999.99),
        ([1, 2, float(np.float32(9.96921e36))], float(np.float32(9.96921e36))),
        ([97, 98, 99, 100], None),
        ([0, 5000, 9999], None),
        ([1, 2, -5000], None),
        ([-99, -99], -99),
        ([np.nan, np.nan], None),
    ],
)
def test_what_looks_like_a_sentinel(values, found):
    assert suspicious(pd.Series(values, dtype=float)) == found


def test_duplicates_keep_the_first_or_average(process, table):
    twice = pd.concat([table.iloc[:31], table.iloc[[30]].assign(a=0.0), table.iloc[31:]])
    data = process(twice, duplicates="first")
    assert raw(data)[30, 0] == pytest.approx(table.a[30], rel=1e-5)
    data = process(twice, duplicates="mean")
    assert raw(data)[30, 0] == pytest.approx(table.a[30] / 2, rel=1e-5)
    assert raw(data)[31, 1] == pytest.approx(table.b[31], rel=1e-5)
    assert kinds(data) == [("duplicates", 1)]
    assert data.schema.rows == 60


def test_rows_are_sorted(process, table):
    data = process(table.iloc[::-1], order="sort")
    np.testing.assert_allclose(raw(data), table[["a", "b"]], rtol=1e-5)
    assert kinds(data) == [("sorted", 59)]


def test_constant_columns_are_dropped(process, table):
    data = process(table.assign(c=4.5), constant_columns="drop")
    assert data.schema.columns == ("a", "b")
    assert data.schema.repairs[0].columns == ("c",)
    assert len(data.schema.scaler.mean) == 2


def test_text_and_nameless_columns_are_left_out(process, table):
    data = process(table.assign(note="ok", flag=True, empty=None).rename(columns={"b": ""}))
    assert data.schema.columns == ("a",)
    left = {repair.columns[0]: repair.detail for repair in data.schema.repairs}
    assert left == {
        "Unnamed: 2": "no name",
        "note": "no numbers",
        "flag": "no numbers",
        "empty": "no numbers",
    }


def test_columns_are_taken_in_the_order_asked(process, table):
    assert process(table, columns=["b", "a"]).schema.columns == ("b", "a")


def test_empty_lines_at_the_end_are_harmless(process, table):
    data = process(table.to_csv(index=False).encode() + b"\n\n,,\n")
    assert data.schema.rows == 60
    assert data.schema.repairs == ()


def test_a_byte_order_mark_is_no_part_of_the_first_name(process, table):
    assert process(b"\xef\xbb\xbf" + table.to_csv(index=False).encode()).schema.rows == 60


def test_another_encoding_separator_decimal_and_time_format(process, table):
    table = table.rename(columns={"a": "T (°C)"})
    table["date"] = pd.to_datetime(table.date).dt.strftime("%d.%m.%Y %H:%M")
    text = table.to_csv(index=False, sep=";", decimal=",")
    data = process(
        text.encode("latin-1"),
        encoding="latin-1",
        separator=";",
        decimal=",",
        time_format="%d.%m.%Y %H:%M",
    )
    assert data.schema.columns == ("T (°C)", "b")
    np.testing.assert_allclose(raw(data)[:, 0], table["T (°C)"], rtol=1e-5)


@pytest.mark.parametrize("name", ["series.csv", "series.parquet"])
def test_offsets_and_daylight_saving_become_regular_utc(process, table, name):
    times = pd.date_range("2024-10-26 12:00", periods=60, freq="1h", tz="Europe/Berlin")
    data = process(table.assign(date=times), name)
    assert kinds(data) == [("utc", 60)]
    assert data.schema.first_time == "2024-10-26T10:00:00"


@pytest.mark.parametrize("start", ["2024-10-26 12:00", "2024-03-30 12:00"])
def test_local_times_become_regular_utc(process, table, start):
    times = pd.date_range(start, periods=60, freq="1h", tz="Europe/Berlin")
    data = process(table.assign(date=times.tz_localize(None)), timezone="Europe/Berlin")
    assert kinds(data) == [("utc", 60)]
    np.testing.assert_array_equal(data.times, times.tz_convert("UTC").tz_localize(None))


@pytest.mark.parametrize("frequency", ["MS", "W-SUN", "B", "15min"])
def test_calendar_frequencies(process, table, frequency):
    table["date"] = pd.date_range("2024-01-01", periods=60, freq=frequency).astype(str)
    data = process(table.drop(20), frequency=frequency, gaps="hold")
    assert (data.schema.rows, kinds(data)) == (60, [("filled", 2)])


def test_runs_of_true():
    assert runs(np.array([1, 1, 0, 1, 0, 1], bool)) == [(0, 2), (3, 1), (5, 1)]
    assert runs(np.zeros(3, bool)) == []


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    dropped=st.sets(st.integers(1, 58), max_size=20),
    repeated=st.lists(st.integers(0, 59), max_size=10),
    seed=st.integers(0, 9),
)
def test_any_mess_of_drops_repeats_and_order_ends_on_the_grid(
    process, table, dropped, repeated, seed
):
    kept = [row for row in range(60) if row not in dropped]
    mess = table.iloc[kept + [row for row in repeated if row not in dropped]]
    mess = mess.sample(frac=1, random_state=seed)
    data = process(mess, order="sort", duplicates="first", gaps="interpolate", max_gap=60)
    assert data.schema.rows == 60
    assert set(np.diff(data.times).astype("timedelta64[m]").astype(int)) == {60}
    np.testing.assert_allclose(raw(data)[kept], table[["a", "b"]].to_numpy()[kept], rtol=1e-5)
    assert dict(kinds(data)).get("filled", 0) == 2 * len(dropped)
