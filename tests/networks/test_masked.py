"""The masked network: who sees whom, and growing a sequence without computing anything twice."""

from __future__ import annotations

import pytest
import torch

from weir.networks.masked import MaskedResidual


def network(size: int, width: int = 24) -> MaskedResidual:
    """A random network in double precision."""
    torch.manual_seed(0)
    made = MaskedResidual(size, 2, 3, width=width, blocks=2).double().eval()
    for parameter in made.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    return made


@pytest.mark.parametrize("size", [1, 2, 5, 9])
def test_outputs_see_exactly_the_coordinates_before_their_own(size: int) -> None:
    made = network(size)
    context = torch.randn(1, 3, dtype=torch.float64)
    x = torch.randn(1, size, dtype=torch.float64)
    jacobian = torch.autograd.functional.jacobian(lambda x: made(x, context)[0].sum(-1), x)[:, 0]
    seen = jacobian.abs() > 1e-12
    assert torch.equal(seen, torch.ones(size, size).tril(-1).bool())


@pytest.mark.parametrize(("size", "width"), [(1, 4), (2, 24), (9, 24), (30, 24)])
def test_growing_gives_what_one_evaluation_gives(size: int, width: int) -> None:
    """Also with fewer hidden units than coordinates."""
    made = network(size, width)
    context = torch.randn(4, 3, dtype=torch.float64)
    x = torch.randn(4, size, dtype=torch.float64)
    with torch.no_grad():
        whole = made(x, context)
        growing = made.growing(context)
        for coordinate in range(size):
            torch.testing.assert_close(growing.outputs(coordinate), whole[:, coordinate])
            growing.tell(coordinate, x[:, coordinate])
    assert torch.equal(growing.x, x)


def test_context_reaches_every_output() -> None:
    made = network(4)
    x = torch.randn(1, 4, dtype=torch.float64)
    context = torch.randn(1, 3, dtype=torch.float64)
    jacobian = torch.autograd.functional.jacobian(lambda c: made(x, c)[0].flatten(), context)
    assert bool((jacobian[:, 0].abs() > 1e-12).all())
