"""Maps of the line: increasing, onto, with the slope they claim, and their inverse."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.distributions import Transform

from weir.tasks.image.density.univariate import LogisticMixture, Spline, SumOfSquares

MAPS: dict[str, tuple[Callable[..., Transform], list[tuple[int, ...]]]] = {
    "mixture": (LogisticMixture, [(5,), (5,), (5,)]),
    "squares": (SumOfSquares, [(), (3, 4)]),
    "spline": (Spline, [(6,), (6,), (5,)]),
}
X = torch.linspace(-20, 20, 81, dtype=torch.float64)


def made(name: str, size: float = 1.0, seed: int = 0) -> Transform:
    """One map per point of `X`, all with the same random parameters."""
    build, shapes = MAPS[name]
    generator = torch.Generator().manual_seed(seed)
    draw = [size * torch.randn(shape, generator=generator, dtype=torch.float64) for shape in shapes]
    return build(*(value.expand(len(X), *value.shape) for value in draw))


@pytest.mark.parametrize("name", MAPS)
def test_slope_is_the_derivative_and_the_map_increases(name: str) -> None:
    transform = made(name)
    x = X.clone().requires_grad_()
    y, log_slope = transform.call_and_ladj(x)
    (slope,) = torch.autograd.grad(y.sum(), x)
    torch.testing.assert_close(log_slope, slope.log())
    assert bool((y.diff() > 0).all())


@pytest.mark.parametrize("name", MAPS)
def test_inverse_undoes_the_map_far_out_too(name: str) -> None:
    transform = made(name)
    torch.testing.assert_close(transform.inv(transform(X)), X, atol=1e-6, rtol=1e-6)


@pytest.mark.parametrize("name", MAPS)
def test_parameters_of_zero_are_the_identity(name: str) -> None:
    y, log_slope = made(name, size=0.0).call_and_ladj(X)
    torch.testing.assert_close(y, X)
    torch.testing.assert_close(log_slope, torch.zeros_like(X), atol=1e-12, rtol=0)


@pytest.mark.parametrize("name", ["mixture", "squares"])
def test_smooth_maps_have_slopes_of_second_order(name: str) -> None:
    """The score of a density is the derivative of a log slope, and training differentiates it."""
    build, shapes = MAPS[name]
    generator = torch.Generator().manual_seed(2)
    parameters = [
        torch.randn(7, *shape, generator=generator, dtype=torch.float64).requires_grad_()
        for shape in shapes
    ]
    x = torch.linspace(-3, 3, 7, dtype=torch.float64).requires_grad_()

    def log_slope(x: Tensor, *parameters: Tensor) -> Tensor:
        return build(*parameters).call_and_ladj(x)[1]

    assert torch.autograd.gradgradcheck(log_slope, (x, *parameters))


def test_mixture_is_exact_where_distribution_functions_underflow() -> None:
    """Far out, one component is left, of which the map is affine."""
    zero = torch.zeros(1, 2)
    transform = LogisticMixture(zero, torch.tensor([[-1.0, 1.0]]), zero)
    x = torch.tensor([-300.0, 300.0])
    y, log_slope = transform.call_and_ladj(x)
    torch.testing.assert_close(y, x, atol=1.0, rtol=0)
    torch.testing.assert_close(log_slope, torch.zeros(2), atol=1e-6, rtol=0)
