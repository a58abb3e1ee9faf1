"""Neighbours of bins: both sides of what is shown, and what is known when bins are made in turn."""

from __future__ import annotations

import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from weir.tasks.clinical.flow.grid import BinEvents
from weir.tasks.clinical.flow.neighbours import AutoregressiveState, around, in_turn


def events(value: Tensor, has: Tensor) -> BinEvents:
    """One event where there is one, `[record, bin, code]`."""
    number = has.float()
    return BinEvents(number, number, value * number, value.square() * number)


def drawn(seed: int) -> tuple[BinEvents, Tensor, Tensor]:
    """Events of 3 records, 7 bins and 2 codes, where there are some, and which cells are shown."""
    generator = torch.Generator().manual_seed(seed)
    value, chance, show = torch.rand(3, 3, 7, 2, generator=generator)
    has = chance < 0.6
    return events(value, has), has, show < 0.5


def test_neighbours_are_the_nearest_shown_values():
    value = torch.tensor([1.0, 2.0, 3.0, 4.0])[None, :, None]
    has = torch.tensor([True, False, True, True])[None, :, None]
    shown = torch.tensor([True, True, False, True])[None, :, None]
    found = around(events(value, has), shown)
    assert found.before.flatten().tolist() == [1, 1, 1, 4]
    assert found.past.flatten().tolist() == [0, 1, 2, 0]
    assert found.after.flatten().tolist() == [1, 4, 4, 4]
    assert found.future.flatten().tolist() == [0, 2, 1, 0]
    torch.testing.assert_close(found.level.flatten(), torch.full((4,), 5 / 3))
    known = in_turn(events(value, has), shown)
    assert known.before.flatten().tolist() == [1, 1, 1, 4]
    assert known.past.flatten().tolist() == [0, 1, 2, 0]
    # At the third bin its own value is not known, at the fourth it is.
    assert known.number.flatten().tolist() == [2, 2, 2, 3]
    assert known.total.flatten().tolist() == [5, 5, 5, 8]


@given(st.integers(0, 10_000))
def test_bins_in_turn_know_what_training_says_they_know(seed: int):
    whole, has, shown = drawn(seed)
    wanted = in_turn(whole, shown)
    part = BinEvents(*(field * shown for field in whole))
    state = AutoregressiveState(part, shown)
    for place in range(7):
        for a, b in zip(state.current(), wanted, strict=True):
            torch.testing.assert_close(a.expand(-1, 2, -1)[:, 1], b[:, place])
        made = whole.mean[:, None, place].expand(-1, 2, -1)
        state.update(made, (has & ~shown)[:, None, place])


@given(st.integers(0, 10_000))
def test_what_is_hidden_is_not_known(seed: int):
    whole, has, shown = drawn(seed)
    other = events(torch.where(shown, whole.mean, 9.0), has)
    for a, b in zip(around(whole, shown), around(other, shown), strict=True):
        assert torch.equal(a, b)
    # In state the last bin's own hidden values are not known, nor those of later ones.
    changed = whole.mean.clone()
    changed[:, 4:] = torch.where(shown[:, 4:], changed[:, 4:], 9.0)
    known = [in_turn(events(v, has), shown) for v in (whole.mean, changed)]
    for a, b in zip(*known, strict=True):
        assert torch.equal(a[:, :5], b[:, :5])


def test_features_are_finite_without_any_value():
    nothing = torch.zeros(1, 3, 2)
    found = around(BinEvents(*[nothing] * 4), nothing > 0).features(3)
    assert found.shape == (1, 3, 16)
    assert bool(found.isfinite().all())
