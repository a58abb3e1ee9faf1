"""The scales of a picture, and what moves between them."""

from __future__ import annotations

import math
from types import SimpleNamespace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from weir.tasks.image.data.scale import SIGMA_DATA, Scale

DIGITS = Scale(levels=17, center=-0.4, spread=0.7)


def test_unit_is_the_middle_of_a_levels_cell_or_a_place_in_it():
    raw = torch.tensor([0.0, 16.0])
    assert DIGITS.unit(raw).tolist() == pytest.approx([-1 + 1 / 17, 1 - 1 / 17])
    assert DIGITS.unit(raw, torch.zeros(2)).tolist() == pytest.approx([-1, 1 - 2 / 17])
    assert DIGITS.unit(raw, torch.full((2,), 1 - 1e-6)).max() < 1


@given(st.integers(2, 256), st.floats(0.01, 0.99))
def test_a_dequantised_level_is_found_again(levels: int, place: float):
    scale = Scale(levels, 0.0, 1.0)
    raw = torch.arange(levels, dtype=torch.float64)
    assert torch.equal(scale.quantise(scale.unit(raw, torch.full_like(raw, place))), raw)


def test_quantising_draws_in_what_lies_outside():
    assert DIGITS.quantise(torch.tensor([-3.0, 1.0, 5.0])).tolist() == [0, 16, 16]


def test_dequantising_fills_the_cells_by_the_global_generator():
    raw = torch.full((20_000,), 8.0)
    torch.manual_seed(0)
    first = DIGITS.dequantise(raw)
    torch.manual_seed(0)
    assert torch.equal(first, DIGITS.dequantise(raw))
    inside = (first + 1) * 17 / 2 - 8
    assert inside.min() >= 0
    assert inside.max() <= 1
    assert inside.var() == pytest.approx(1 / 12, rel=0.02)


def test_event_has_the_spread_of_edm_and_goes_back():
    unit = torch.tensor([-0.4, 0.3, 1.0])
    assert DIGITS.event(unit).tolist() == pytest.approx([0, SIGMA_DATA, 2 * SIGMA_DATA])
    assert DIGITS.to_unit(DIGITS.event(unit)).tolist() == pytest.approx(unit.tolist())


def test_log_volume_is_the_density_of_the_map():
    """A Gaussian on the unit scale, its density by way of the event scale."""
    normal = torch.distributions.Normal
    unit = torch.linspace(-1, 1, 7)
    direct = normal(DIGITS.center, DIGITS.spread).log_prob(unit)
    by_event = normal(0.0, SIGMA_DATA).log_prob(DIGITS.event(unit)) + DIGITS.log_volume
    torch.testing.assert_close(by_event, direct)


def test_a_uniform_density_costs_the_bits_of_its_levels():
    dimensions = 64
    log_prob = torch.tensor([-dimensions * math.log(2.0)])
    assert DIGITS.bits_per_dim(log_prob, dimensions).item() == pytest.approx(math.log2(17))
    scale = Scale(256, 0.0, 1.0)
    assert scale.bits_per_dim(log_prob, dimensions).item() == pytest.approx(8)


def test_coordinates_are_left_as_they_are():
    scale = Scale.of(SimpleNamespace(levels=None, center=0.1, spread=2.0))
    points = torch.randn(5, 2)
    assert scale.unit(points) is points
    assert scale.dequantise(points) is points
    assert scale.quantise(points) is points
    assert scale.to_unit(scale.event(points)).numpy() == pytest.approx(points.numpy(), abs=1e-6)
    with pytest.raises(ValueError, match="have none"):
        scale.bits_per_dim(torch.zeros(1), 2)
