"""Data order and seeds."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from weir.training.order import Order, mix, seed_draws


@given(
    length=st.integers(1, 40),
    batch=st.integers(1, 90),
    seed=st.integers(0, 2**40),
    epochs=st.integers(1, 3),
)
def test_every_epoch_takes_every_item_once(length: int, batch: int, seed: int, epochs: int) -> None:
    order = Order(length, batch, seed)
    steps = -(-epochs * length // batch)
    stream = torch.cat([order.items(step) for step in range(steps)])
    for epoch in stream[: epochs * length].view(epochs, length):
        assert epoch.sort().values.tolist() == list(range(length))


@given(length=st.integers(1, 40), batch=st.integers(1, 90), step=st.integers(0, 1000))
def test_a_step_needs_no_memory_of_the_steps_before(length: int, batch: int, step: int) -> None:
    walked = Order(length, batch, 5)
    for earlier in range(max(0, step - 3), step):
        walked.items(earlier)
    assert torch.equal(walked.items(step), Order(length, batch, 5).items(step))


def test_epochs_and_seeds_differ() -> None:
    order = Order(100, 100, 0)
    assert not torch.equal(order.items(0), order.items(1))
    assert not torch.equal(order.items(0), Order(100, 100, 1).items(0))


def test_no_items_is_an_error() -> None:
    with pytest.raises(ValueError, match="without items"):
        Order(0, 1, 0)


def test_mixed_numbers_do_not_collide_and_fill_63_bits() -> None:
    mixed = {mix(a, b, c) for a in range(20) for b in range(20) for c in range(20)}
    assert len(mixed) == 8000
    assert min(mixed) >= 0 and max(mixed) < 2**63
    for bit in range(63):  # each bit is set about half of the time: 4000 +- 5 sigma
        assert abs(sum(number >> bit & 1 for number in mixed) - 4000) < 225


def test_seeding_fixes_the_draws() -> None:
    seed_draws(7, torch.device("cpu"))
    first = torch.randn(3)
    seed_draws(7, torch.device("cpu"))
    assert torch.equal(first, torch.randn(3))
    torch.manual_seed(7)
    assert torch.equal(first, torch.randn(3))
