"""Loop, padded and packed: three ways to the same numbers."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from clinical_models import doubled, records_of, stage1_model, stage1_settings
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from weir.tasks.clinical.representation import sequence, set_encoder
from weir.tasks.clinical.representation.ragged import Apply, apply_by_group, places, segment_softmax
from weir.tasks.clinical.representation.stage1 import objective

ODD = [[3, 1, 4, 1], [], [2], [1, 1, 1, 1, 1, 1, 7], [], [4, 4, 30], [2, 3, 2], []]
"""Sizes of the sets of records: none at all, one event, many."""


def loop(tokens: Tensor, owner: Tensor, owners: int, apply: Apply, *, slack: float = 1) -> Tensor:
    """One group of items at a time."""
    sizes = places(owner, owners)[1].tolist()
    parts = tokens.split([size for size in sizes if size]) if len(tokens) else [tokens]
    return torch.cat([apply(part[None], None)[0] for part in parts])


def padded(tokens: Tensor, owner: Tensor, owners: int, apply: Apply, *, slack: float = 1) -> Tensor:
    """All groups at once, padded to the longest."""
    return apply_by_group(tokens, owner, owners, apply, slack=math.inf)


FORMS = {"loop": loop, "padded": padded, "packed": apply_by_group}


@pytest.mark.parametrize(
    "network",
    [
        {"set_encoder": "attention", "sequence": "transformer", "causal": True, "set_layers": 2},
        {"set_encoder": "attention", "sequence": "transformer", "causal": False},
        {"set_encoder": "pooling", "sequence": "gru", "causal": True, "layers": 2},
        {"set_encoder": "pooling", "sequence": "gru", "causal": False},
    ],
    ids=["transformer", "transformer-both-ways", "gru", "gru-both-ways"],
)
def test_loss_and_gradients_are_those_of_the_loop(tiny_clinical, network, monkeypatch):
    monkeypatch.setattr(set_encoder, "PIECE", 8)  # sets of 30 go in pieces
    batch = doubled(records_of(ODD, len(tiny_clinical.schema.static)))
    losses: dict[str, Tensor] = {}
    gradients: dict[str, dict[str, Tensor]] = {}
    for form in FORMS:
        for module in (sequence, set_encoder):
            monkeypatch.setattr(module, "apply_by_group", FORMS[form])
        config = stage1_settings(network)
        model = stage1_model(tiny_clinical, config).double()
        torch.manual_seed(1)
        found = objective(config, model)(batch, 0.5)
        found["loss"].backward()
        losses[form] = torch.stack([found[name].detach() for name in ("loss", "nll", "kl", "bce")])
        gradients[form] = {n: p.grad for n, p in model.named_parameters() if p.grad is not None}
    for form in ("padded", "packed"):
        torch.testing.assert_close(losses[form], losses["loop"], rtol=1e-9, atol=1e-9)
        assert gradients[form].keys() == gradients["loop"].keys()
        for name, gradient in gradients[form].items():
            torch.testing.assert_close(gradient, gradients["loop"][name], rtol=1e-9, atol=1e-9)


@settings(max_examples=40, deadline=None)
@given(sizes=st.lists(st.integers(0, 6), min_size=1, max_size=8), exact=st.booleans())
def test_every_item_sees_its_own_group(sizes: list[int], exact: bool):
    """A cumulative sum along the group tells place and neighbours."""
    owner = torch.arange(len(sizes)).repeat_interleave(torch.tensor(sizes))
    items = torch.arange(1.0, len(owner) + 1)[:, None]

    def summed(tokens: Tensor, mask: Tensor | None) -> Tensor:
        if mask is not None:
            assert (tokens[~mask] == 0).all()
        elif exact and len(tokens):
            assert tokens.shape[1] in sizes or not len(owner)
        return tokens.cumsum(1)

    place, count = places(owner, len(sizes))
    assert count.tolist() == sizes
    assert place.tolist() == [i for size in sizes for i in range(size)]
    numbers = itertools.count(1)
    expected = [
        total for size in sizes for total in itertools.accumulate(itertools.islice(numbers, size))
    ]
    for form in FORMS.values():
        found = form(items, owner, len(sizes), summed, slack=1.0 if exact else 1.5)
        assert found[:, 0].tolist() == expected


def test_segment_softmax_is_softmax_of_each_segment():
    owner = torch.tensor([0, 0, 0, 2])
    score = torch.tensor([0.1, -0.2, 0.05, 3.0], dtype=torch.float64)
    found = segment_softmax(score, owner, 4)
    torch.testing.assert_close(found[:3], score[:3].softmax(0), rtol=1e-4, atol=0)
    assert found[3] == 1
    extreme = segment_softmax(torch.tensor([1e4, -1e4, 0.0, 0.0]), owner, 4)
    torch.testing.assert_close(extreme, torch.tensor([1.0, 0.0, 0.0, 1.0]), atol=1e-6, rtol=0)
