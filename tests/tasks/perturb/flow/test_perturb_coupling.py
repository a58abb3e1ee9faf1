"""Couplings: exact on small sets, balanced, and inside contexts."""

from __future__ import annotations

from itertools import permutations

import pytest
import torch

from weir.tasks.perturb.flow.coupling import assign, couple, couple_groups


@pytest.mark.parametrize("seed", range(5))
def test_pairing_is_the_best_of_all_permutations(seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    source, target = torch.randn(2, 6, 3, generator=generator)
    cost = torch.cdist(target, source).square()
    rows = torch.arange(6)
    best = min(permutations(range(6)), key=lambda order: float(cost[rows, list(order)].sum()))
    assert couple(source, target)[:, 0].tolist() == list(best)


def test_a_shift_is_undone() -> None:
    torch.manual_seed(0)
    source = torch.randn(300, 4)
    order = torch.randperm(300)
    target = source[order] + torch.tensor([3.0, -1.0, 0.0, 8.0])
    assert torch.equal(couple(source, target)[:, 0], order)


def test_every_source_is_used_as_often_as_every_other() -> None:
    torch.manual_seed(0)
    more, fewer = torch.randn(50, 2), torch.randn(20, 2)
    many = couple(fewer, more, rounds=3)
    for column in many.T:
        assert set(column.bincount(minlength=20).tolist()) == {2, 3}
    few = couple(more, fewer, rounds=200)
    for column in few.T:
        assert len(column.unique()) == 20
    # 20 of 50 in each of 200 rounds: 80 each on average, standard deviation 7.
    uses = few.flatten().bincount(minlength=50)
    assert uses.min() > 50 and uses.max() < 110


def test_large_groups_are_cut() -> None:
    torch.manual_seed(0)
    source, target = torch.randn(2, 64, 2)
    cut = couple(source, target, size=16)[:, 0]
    whole = couple(source, target)[:, 0]
    assert cut.unique().numel() == 64
    cost = torch.cdist(target, source).square()[torch.arange(64)]
    chance = cost.mean()
    assert cost.gather(1, whole[:, None]).mean() <= cost.gather(1, cut[:, None]).mean() < chance


def test_seed_decides() -> None:
    torch.manual_seed(0)
    source, target = torch.randn(30, 2), torch.randn(20, 2)
    first, again, other = (couple(source, target, rounds=4, seed=s) for s in (1, 1, 2))
    assert torch.equal(first, again) and not torch.equal(first, other)


def test_random_coupling_is_a_permutation_that_ignores_distance() -> None:
    torch.manual_seed(0)
    source = torch.randn(200, 2)
    pairs = couple(source, source, method="random")[:, 0]
    assert pairs.unique().numel() == 200
    assert (pairs == torch.arange(200)).float().mean() < 0.05


def test_pairs_never_cross_contexts_and_each_perturbed_cell_with_controls_has_some() -> None:
    torch.manual_seed(0)
    context, condition = torch.randint(0, 4, (200,)), torch.randint(0, 3, (200,))
    condition[context == 3] = 1  # a context without controls
    latent = torch.randn(200, 2) + 100 * torch.rand(4)[context][:, None]
    targets, sources = couple_groups(latent, context, condition, rounds=5)
    assert torch.equal(targets, ((condition > 0) & (context != 3)).nonzero()[:, 0])
    assert (context[sources] == context[targets][:, None]).all()
    assert (condition[sources] == 0).all()


def test_conditions_are_coupled_one_by_one() -> None:
    latent = torch.tensor([[0.0], [1.0], [0.1], [1.1], [0.2]])
    condition = torch.tensor([0, 0, 1, 1, 2])
    targets, sources = couple_groups(latent, torch.zeros(5, dtype=torch.int64), condition)
    assert targets.tolist() == [2, 3, 4]
    assert sources[:2, 0].tolist() == [0, 1]


def test_impossible_couplings_are_refused() -> None:
    with pytest.raises(ValueError, match="without a source"):
        couple(torch.zeros(0, 2), torch.zeros(3, 2))
    with pytest.raises(ValueError, match="unknown coupling"):
        couple(torch.zeros(3, 2), torch.zeros(3, 2), method="nearest")
    with pytest.raises(ValueError, match="rows cannot have"):
        assign(torch.zeros(3, 2))
