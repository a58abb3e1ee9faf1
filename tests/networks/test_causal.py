"""The network of neighbours: who sees whom, one pixel at a time, and everywhere the same."""

from __future__ import annotations

import math

import pytest
import torch

from weir.networks.causal import CausalNeighbourhood

SHAPES = [(1, 4, 5), (3, 3, 2), (1, 1, 6)]


def network(shape: tuple[int, ...], radius: int = 1) -> CausalNeighbourhood:
    """A random network in double precision."""
    torch.manual_seed(0)
    made = CausalNeighbourhood(shape, 2, 3, 4, radius=radius, width=6).double()
    for parameter in made.parameters():
        torch.nn.init.normal_(parameter, std=0.7)
    return made


def told(shape: tuple[int, ...], count: int = 1) -> tuple[torch.Tensor, ...]:
    """Values, features and contexts."""
    size = math.prod(shape)
    sizes = ((count, size), (count, size, 2), (count, 3))
    generator = torch.Generator().manual_seed(1)
    return tuple(torch.randn(each, generator=generator, dtype=torch.float64) for each in sizes)


@pytest.mark.parametrize("radius", [1, 2])
@pytest.mark.parametrize("shape", SHAPES)
def test_a_pixel_sees_exactly_its_neighbours_before_it(shape: tuple[int, ...], radius: int) -> None:
    made = network(shape, radius)
    x, features, context = told(shape)
    jacobian = torch.autograd.functional.jacobian(
        lambda x: made(x, features, context)[0].sum(-1), x
    )[:, 0]
    at = torch.cartesian_prod(*map(torch.arange, shape))
    near = ((at[:, None, 1:] - at[None, :, 1:]).abs() <= radius).all(-1)
    size = math.prod(shape)
    before = torch.ones(size, size).tril(-1).bool()
    # Of its own channel, or of one before its own, which comes first in the order as well.
    assert torch.equal(jacobian.abs() > 1e-12, near & before)


@pytest.mark.parametrize("shape", SHAPES)
def test_one_pixel_alone_is_what_it_is_among_all(shape: tuple[int, ...]) -> None:
    made = network(shape, 2)
    x, features, context = told(shape, 3)
    whole = made(x, features, context)
    for coordinate in range(x.shape[1]):
        unknown = x.clone()
        unknown[:, coordinate:] = 0
        one = made.at(coordinate, unknown, features[:, coordinate], context)
        torch.testing.assert_close(one, whole[:, coordinate])


def test_it_says_nothing_at_first_and_the_same_at_every_place() -> None:
    assert bool((CausalNeighbourhood((1, 4, 4), 2, 3, 4)(*map(_float, told((1, 4, 4)))) == 0).all())
    made = network((1, 6, 7), 1)
    torch.nn.init.zeros_(made.place)
    torch.nn.init.zeros_(made.bias)
    x, features, context = told((1, 6, 7))
    same = torch.ones_like(x), torch.ones_like(features), context
    inner = made(*same).unflatten(1, (6, 7))[0, 1:, 1:-1]
    torch.testing.assert_close(inner, inner[:1, :1].expand_as(inner))


def _float(x: torch.Tensor) -> torch.Tensor:
    return x.float()
