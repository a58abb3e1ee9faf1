"""adaLN-zero: identity at the start, modulated by the condition afterwards."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from weir.networks.adaln import AdaLNZeroBlock, AdaLNZeroOutput, ScalarEmbedding, TimedNetwork


def stir(module: nn.Module) -> None:
    """Move every parameter away from its initial value."""
    for parameter in module.parameters():
        nn.init.normal_(parameter, std=0.3)


def test_block_is_the_identity_and_output_zero_at_first() -> None:
    x, condition = torch.randn(2, 3, 5, 8), torch.randn(2, 1, 5, 8)
    assert torch.equal(AdaLNZeroBlock(8, 2)(x, condition), x)
    assert torch.equal(AdaLNZeroOutput(8, 4)(x, condition), torch.zeros(2, 3, 5, 4))


def test_condition_that_draws_share_gives_the_same_as_one_repeated() -> None:
    torch.manual_seed(0)
    block, out = AdaLNZeroBlock(8, 2).eval(), AdaLNZeroOutput(8, 4).eval()
    stir(block)
    stir(out)
    x, condition = torch.randn(2, 3, 5, 8), torch.randn(2, 1, 5, 8)
    repeated = condition.expand(2, 3, 5, 8)
    torch.testing.assert_close(block(x, condition), block(x, repeated))
    torch.testing.assert_close(out(x, condition), out(x, repeated))


def test_condition_and_other_tokens_matter_once_trained() -> None:
    torch.manual_seed(0)
    block = AdaLNZeroBlock(8, 2).eval()
    stir(block)
    x, condition = torch.randn(1, 1, 5, 8), torch.randn(1, 1, 5, 8)
    plain = block(x, condition)
    assert not torch.allclose(block(x, condition + 1), plain)
    moved = x.clone()
    moved[..., 0, :] += 1.0 * torch.arange(8)
    assert not torch.allclose(block(moved, condition)[..., 1:, :], plain[..., 1:, :])


def test_draws_do_not_see_each_other() -> None:
    torch.manual_seed(0)
    block = AdaLNZeroBlock(8, 2).eval()
    stir(block)
    x, condition = torch.randn(1, 3, 5, 8), torch.randn(1, 1, 5, 8)
    alone = block(x[:, :1], condition)
    torch.testing.assert_close(block(x, condition)[:, :1], alone, atol=1e-5, rtol=1e-5)


def test_silenced_embedding_is_zero_yet_learns() -> None:
    embedding = ScalarEmbedding(8)
    embedding.silence()
    values = embedding(torch.rand(4, 2))
    assert torch.equal(values, torch.zeros(4, 2, 8))
    (values - 1).square().sum().backward()
    assert embedding.layers[-1].weight.grad.abs().sum() > 0


def test_embedding_tells_times_apart() -> None:
    embedding = ScalarEmbedding(8)
    vectors = embedding(torch.linspace(0, 1, 20))
    apart = torch.cdist(vectors, vectors) + torch.eye(20)
    assert apart.min() > 1e-3


class Timed(TimedNetwork):
    """Nothing but its signal."""

    def __init__(self) -> None:
        super().__init__()
        self.time = ScalarEmbedding(8)


def test_a_signal_has_axes_for_conditions_and_draws_whatever_the_times_have() -> None:
    network, times = Timed(), torch.rand(4, 3)
    every = network.signal(times)
    assert every.shape == (4, 3, 8)
    torch.testing.assert_close(network.signal(times[:, 0]), every[:, :1])
    torch.testing.assert_close(network.signal(times[1, 2]), every[1:2, 2:])


def test_a_step_size_changes_nothing_at_first_and_counts_once_trained() -> None:
    network, times = Timed(), torch.rand(4, 3)
    with pytest.raises(ValueError, match="build it as a student"):
        network.signal(times, times)
    network.add_step()
    assert torch.equal(network.signal(times, times), network.signal(times))
    stir(network.step)
    assert not torch.allclose(network.signal(times, times), network.signal(times))
