"""UNet: shapes of any size, zero at first, told of time, context and step."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional

from weir.networks.unet import UNet, enlarge


def stirred(channels: int = 1, **settings: object) -> UNet:
    """A small UNet whose weights are nowhere zero."""
    torch.manual_seed(0)
    network = UNet(channels, 5, width=8, multiples=(1, 2, 2), **settings)
    for parameter in network.parameters():
        nn.init.normal_(parameter, std=0.2)
    return network.eval()


def test_output_is_zero_at_first() -> None:
    network = UNet(2, 5, width=8)
    x = torch.randn(2, 3, 2, 8, 8)
    assert torch.equal(network(x, torch.tensor(0.5), torch.randn(2, 5)), torch.zeros_like(x))


@pytest.mark.parametrize("size", [(8, 8), (28, 28), (7, 5), (4, 3)])
def test_pictures_of_any_size_keep_it(size: tuple[int, int]) -> None:
    x = torch.randn(2, 3, 1, *size)
    out = stirred()(x, torch.tensor([0.2, 0.7]), torch.randn(2, 5))
    assert out.shape == x.shape and bool(torch.isfinite(out).all())


def test_enlarging_repeats_pixels() -> None:
    x = torch.randn(2, 3, 4, 5)
    nearest = functional.interpolate(x, scale_factor=2)
    assert torch.equal(enlarge(x, (8, 10)), nearest)
    assert torch.equal(enlarge(x, (7, 9)), nearest[..., :7, :9])


def test_time_context_and_every_pixel_matter() -> None:
    network = stirred()
    x, context = torch.randn(1, 1, 1, 8, 8), torch.randn(1, 5)
    out = network(x, torch.tensor(0.5), context)
    assert not torch.allclose(network(x, torch.tensor(0.6), context), out)
    assert not torch.allclose(network(x, torch.tensor(0.5), context + 1), out)
    moved = x.clone()
    moved[..., 0, 0] += 1
    # Attention at the lowest resolution carries a corner to the other one.
    assert bool(((network(moved, torch.tensor(0.5), context) - out)[..., -1, -1] != 0).all())


def test_draws_are_computed_each_by_itself() -> None:
    network = stirred()
    x, context, t = torch.randn(2, 3, 1, 8, 8), torch.randn(2, 5), torch.rand(2, 3)
    out = network(x, t, context)
    alone = network(x[1:, 2:], t[1:, 2:], context[1:])
    torch.testing.assert_close(out[1:, 2:], alone, atol=1e-5, rtol=1e-4)


def test_a_student_s_step_does_nothing_at_first_and_is_needed() -> None:
    network = stirred()
    x, context, t = torch.randn(2, 1, 1, 8, 8), torch.randn(2, 5), torch.rand(2)
    out = network(x, t, context)
    with pytest.raises(ValueError, match="no step-size input"):
        network(x, t, context, t)
    network.add_step()
    assert torch.equal(network(x, t, context, t), out)


def test_derivatives_exist_forward_and_are_deterministic_backward() -> None:
    """What mean-flow distillation and the training loop ask of a network."""
    network = stirred()
    x, context, t = torch.randn(2, 1, 1, 7, 5), torch.randn(2, 5), torch.rand(2)
    with torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH):
        _, slope = torch.func.jvp(
            lambda t: network(x, t, context).sum((1, 2, 3, 4)), (t,), (torch.ones(2),)
        )
    with torch.no_grad():
        double = network.double()
        ahead, behind = (
            double(x.double(), t.double() + s, context.double()).sum((1, 2, 3, 4))
            for s in (1e-5, -1e-5)
        )
    torch.testing.assert_close(slope.double(), (ahead - behind) / 2e-5, atol=1e-2, rtol=1e-3)
    torch.use_deterministic_algorithms(True)
    try:
        network.float()(x, t, context).square().sum().backward()
    finally:
        torch.use_deterministic_algorithms(False)
    assert all(p.grad is not None for p in network.parameters())
