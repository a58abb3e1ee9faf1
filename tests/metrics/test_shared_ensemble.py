"""Scores of one ensemble against many truths are those of the same ensemble against each."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from weir.metrics import scores, shared_ensemble


@given(st.integers(2, 9), st.integers(1, 9), st.integers(1, 4), st.booleans(), st.integers(0, 99))
def test_scores_are_those_of_each_truth_alone(
    members: int, truths: int, dimension: int, tied: bool, seed: int
) -> None:
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(members, dimension, generator=generator, dtype=torch.float64)
    y = torch.randn(truths, dimension, generator=generator, dtype=torch.float64)
    if tied:  # truths among the members, and members that are alike
        x, y = x.round(), y.round()
    each = x.expand(truths, members, dimension)
    expected = scores.crps(each.movedim(1, -1), y).mean(0)
    torch.testing.assert_close(shared_ensemble.crps(x, y), expected)
    energy = scores.energy_score(each, y).mean()
    assert shared_ensemble.energy_score(x, y) == pytest.approx(float(energy), abs=1e-6)


def test_one_member_is_refused() -> None:
    with pytest.raises(ValueError, match="two members"):
        shared_ensemble.crps(torch.zeros(1, 2), torch.zeros(3, 2))
