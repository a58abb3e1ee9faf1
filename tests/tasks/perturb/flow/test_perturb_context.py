"""Contexts: what enters, and what stands for the unknown."""

from __future__ import annotations

import pytest
import torch

from weir.tasks.perturb.flow.context import Codes, ContextEncoder


def codes(batch: list[int], cell_type: list[int], niche: int = 0) -> Codes:
    return Codes(torch.tensor(batch), torch.tensor(cell_type), torch.randn(len(batch), niche))


def encoder(**settings: object) -> ContextEncoder:
    torch.manual_seed(0)
    return ContextEncoder(3, 2, 4, width=5, **settings)


def test_context_is_the_sum_of_its_roles() -> None:
    model, some = encoder().eval(), codes([1, 3], [2, 0], 4)
    expected = model.batch.weight[[1, 3]] + model.cell_type.weight[[2, 0]] + model.niche(some.niche)
    torch.testing.assert_close(model(some), expected)


def test_no_role_makes_every_context_zero() -> None:
    model = encoder(roles=()).eval()
    assert torch.equal(model(codes([0, 1, 2], [0, 1, 2], 4)), torch.zeros(3, 5))
    assert not list(model.parameters())


def test_a_code_that_training_never_showed_counts_as_unknown() -> None:
    model = encoder(roles=("batch", "cell_type")).eval()
    before = model(codes([3], [1]))
    model.mark_observed_codes(torch.tensor([1, 2, 1]), torch.tensor([1, 1, 1]))
    unseen, unknown = model(codes([3], [2])), model(codes([0], [0]))
    assert torch.equal(unseen, unknown)
    assert torch.equal(model(codes([2], [1])), model.batch.weight[2:3] + model.cell_type.weight[1])
    assert not torch.equal(before, model(codes([3], [1])))


def test_seen_codes_are_saved() -> None:
    model = encoder()
    model.mark_observed_codes(torch.tensor([2]), torch.tensor([1]))
    other = encoder()
    other.load_state_dict(model.state_dict())
    assert other.seen_batch.tolist() == [False, False, True, False]


@pytest.mark.parametrize("unknown", [0.0, 0.3])
def test_codes_are_dropped_in_training_at_the_stated_rate(unknown: float) -> None:
    model = encoder(roles=("batch",), unknown=unknown).train()
    with torch.no_grad():
        model.batch.weight.zero_()
        model.batch.weight[0] = 1
    torch.manual_seed(0)
    share = model(codes([2] * 4000, [1] * 4000))[:, 0].mean().item()
    assert share == pytest.approx(unknown, abs=0.03)
    assert model.eval()(codes([2], [1])).eq(0).all()
