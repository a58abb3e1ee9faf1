"""Pairs of a teacher: reproducible noise, exact ends, bounded chunks, a data set of them."""

from __future__ import annotations

import pytest
import torch
from affine_flow import ToyData, ToyFlow, collect, exact, teacher

from weir.distillation.pairs import PairSet, sample_pairs, white_noise


def test_noise_depends_on_seed_item_and_draw_alone() -> None:
    all_of_it = white_noise(3, torch.arange(10), 4, (2, 5))
    some = white_noise(3, torch.tensor([7, 2]), 2, (2, 5))
    assert torch.equal(some, all_of_it[[7, 2], :2])
    assert not torch.equal(white_noise(4, torch.arange(10), 4, (2, 5)), all_of_it)


def test_noise_is_standard_normal_and_differs_between_items_and_draws() -> None:
    noise = white_noise(0, torch.arange(2000), 2, (8,))
    assert float(noise.mean()) == pytest.approx(0, abs=0.02)
    assert float(noise.std()) == pytest.approx(1, abs=0.02)
    neighbours = torch.stack([noise[:-1, 0].flatten(), noise[1:, 0].flatten()])
    draws = torch.stack([noise[:, 0].flatten(), noise[:, 1].flatten()])
    for pair in (neighbours, draws):
        assert float(torch.corrcoef(pair)[0, 1]) == pytest.approx(0, abs=0.03)


def test_outputs_are_the_exact_ends_of_the_stored_noise() -> None:
    pairs = collect()
    batch = pairs.batch(torch.arange(50))
    torch.testing.assert_close(
        batch.output, exact(teacher(), batch.noise, batch.batch.centre), atol=1e-4, rtol=0
    )


def test_reintegration_of_stored_noise_finds_the_output() -> None:
    pairs = collect()
    batch = pairs.batch(torch.arange(16))
    with torch.no_grad():
        condition = teacher().condition(batch.batch)
        again = teacher().transport(batch.noise, condition, steps=50, solver="heun").final
    torch.testing.assert_close(again, batch.output, atol=1e-4, rtol=0)


def test_chunks_are_small_and_do_not_matter() -> None:
    flow, data = ToyFlow().eval(), ToyData()
    sizes = [
        len(p.items)
        for p in sample_pairs(
            flow, data, torch.arange(50), draws=3, seed=7, steps=2, chunk=2 * 3 * 2 * 8
        )
    ]
    assert sizes == [8] * 6 + [2]
    assert torch.equal(collect(chunk=100).output, collect().output)


def test_resuming_with_the_items_that_are_left_gives_the_same() -> None:
    assert torch.equal(collect(items=torch.arange(20, 50)).output, collect().output[20:])


def test_knots_lie_between_noise_and_output_on_the_trajectory() -> None:
    pairs = collect(knots=4)
    batch = pairs.batch(torch.tensor([3, 40]))
    assert batch.path.shape == (2, 3, 6, 2)
    torch.testing.assert_close(batch.times, torch.tensor([0.0, 0.2, 0.4, 0.6, 0.8, 1.0]))
    # One more Euler step from knot to knot is roughly right, which a shuffled path is not.
    centre = batch.batch.centre[:, None, None]
    guess = batch.path[:, :, :-1] * 0.9 + 0.2 * 0.95 * centre
    torch.testing.assert_close(guess, batch.path[:, :, 1:], atol=0.03, rtol=0)


def test_batch_follows_the_item_numbers_of_a_subset() -> None:
    every, third = collect(), collect(items=torch.arange(0, 50, 3))
    assert len(third) == 17
    here, there = third.batch(torch.tensor([5, 1])), every.batch(torch.tensor([15, 3]))
    assert torch.equal(here.path, there.path)
    assert torch.equal(here.batch.centre, there.batch.centre)


def test_fewer_draws_can_be_asked_for_than_are_stored() -> None:
    pairs = collect()
    pairs.draws = 2
    assert torch.equal(
        pairs.batch(torch.arange(4)).path, collect().batch(torch.arange(4)).path[:, :2]
    )


def test_pairs_that_do_not_fit_are_refused() -> None:
    good = collect()
    with pytest.raises(ValueError, match="49 items"):
        PairSet(good.data, good.items[:-1], good.output, good.knots, good.times, 7)
    with pytest.raises(ValueError, match="4 draws wanted of 3"):
        PairSet(good.data, good.items, good.output, good.knots, good.times, 7, draws=4)
