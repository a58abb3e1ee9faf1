"""Numbers are printed evenly, and what is no number is a dash."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from weir.report.drawing.numbers import (
    DASH,
    THIN,
    compact,
    decimals,
    duration,
    number,
    percent,
    quantity,
    signed_percent,
)


@pytest.mark.parametrize("nothing", [None, math.nan, math.inf, -math.inf])
def test_nothing_is_a_dash(nothing: float | None) -> None:
    assert number(nothing) == compact(nothing) == quantity(nothing) == duration(nothing) == DASH


def test_numbers_have_even_decimals_and_a_true_minus() -> None:
    assert number(0.28, 4) == "0.2800"
    assert number(-1.5, 1) == "−1.5"
    assert number(-0.00001, 2) == "0.00"
    assert number(12345.6, 0) == f"12{THIN}346"


def test_decimals_follow_the_typical_value() -> None:
    assert decimals([0.28, 0.31]) == 4
    assert decimals([11.2, 11.4, math.nan]) == 2
    assert decimals([1500.0]) == 0
    assert decimals([math.nan, 0.0]) == 3


@given(st.floats(1e-5, 1e9))
def test_compact_keeps_three_digits(value: float) -> None:
    read = float(compact(value).replace(THIN, ""))
    assert read == pytest.approx(value, rel=0.006, abs=6e-7)


def test_shares_and_times() -> None:
    assert percent(-0.0214) == f"2.1{THIN}%"
    assert percent(math.nan) == DASH
    assert duration(0.0123) == "12.3 ms"
    assert duration(0.5) == "500 ms"
    assert duration(12.34) == "12.3 s"
    assert duration(59.99) == "1 min 00 s"
    assert duration(754) == "12 min 34 s"
    assert duration(7500) == "2 h 05 min"


def test_changes_carry_their_sign() -> None:
    assert signed_percent(0.025) == f"+2.5{THIN}%"
    assert signed_percent(-0.08) == f"−8{THIN}%"
    assert signed_percent(-0.0001, 1) == signed_percent(0.0, 1) == f"0.0{THIN}%"
    assert signed_percent(math.nan) == DASH
