"""Warm-up and cosine."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from weir.training.optimizer import learning_rate_factor


def test_closed_form() -> None:
    factors = [learning_rate_factor(step, 105, warmup=0.04, final=0.2) for step in range(105)]
    assert factors[:5] == pytest.approx([0.2, 0.4, 0.6, 0.8, 1.0])  # ceil(4.2) = 5 steps of rise
    assert factors[5] == 1.0
    for step in range(5, 105):
        cosine = math.cos(math.pi * (step - 5) / 99)
        assert factors[step] == pytest.approx(0.6 + 0.4 * cosine)
    assert factors[-1] == pytest.approx(0.2)


@given(steps=st.integers(1, 200), warmup=st.floats(0, 1), final=st.floats(0, 1), data=st.data())
def test_never_beyond_the_peak_nor_below_the_end(
    steps: int, warmup: float, final: float, data: st.DataObject
) -> None:
    step = data.draw(st.integers(0, steps - 1))
    factor = learning_rate_factor(step, steps, warmup, final)
    assert 0 <= factor <= 1
    if step >= math.ceil(warmup * steps):
        assert factor >= final - 1e-12


def test_no_warmup_begins_at_the_peak() -> None:
    assert learning_rate_factor(0, 10, 0.0, 0.0) == 1.0
    assert learning_rate_factor(0, 1, 0.0, 0.0) == 1.0
