"""Solvers: known orders, exact costs, Gaussians carried to Gaussians, errors that say where."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from weir.errors import WeirError
from weir.flows.solvers import integrate, knot_steps, nfe

FIXED = ("euler", "midpoint", "heun")


def growth(x: Tensor, t: Tensor) -> Tensor:
    """`x' = x cos t`, whose solution is `x(0) exp(sin t)`."""
    return x * t.cos()


def error(solver: str, steps: int) -> float:
    start = torch.tensor([1.0, -2.0], dtype=torch.float64)
    final = integrate(growth, start, steps=steps, solver=solver).final
    return float((final - start * math.exp(math.sin(1))).abs().max())


@pytest.mark.parametrize(("solver", "order"), [("euler", 1), ("midpoint", 2), ("heun", 2)])
def test_order_of_convergence(solver: str, order: int) -> None:
    measured = math.log2(error(solver, 64) / error(solver, 128))
    assert measured == pytest.approx(order, abs=0.05)


def test_dopri5_meets_its_tolerance_at_little_cost() -> None:
    start = torch.tensor([1.0], dtype=torch.float64)
    solution = integrate(growth, start, steps=100, solver="dopri5", rtol=1e-8, atol=1e-8)
    assert float(solution.final) == pytest.approx(math.exp(math.sin(1)), abs=1e-7)
    assert solution.nfe < 80


@pytest.mark.parametrize(
    ("solver", "steps"), [("euler", 2000), ("midpoint", 200), ("heun", 200), ("dopri5", 200)]
)
def test_gaussian_is_carried_to_gaussian(solver: str, steps: int) -> None:
    """Exact velocity of the linear path from N(0, 1) to N(mean, deviation^2)."""
    mean, deviation = 1.5, 0.4

    def velocity(x: Tensor, t: Tensor) -> Tensor:
        variance = (1 - t) ** 2 + (t * deviation) ** 2
        slope = (t * deviation**2 - (1 - t)) / variance
        return mean + slope * (x - t * mean)

    noise = torch.randn(500, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    final = integrate(velocity, noise, steps=steps, solver=solver).final
    # The flow between Gaussians is affine, so it is known point by point and not just in moments.
    torch.testing.assert_close(final, mean + deviation * noise, atol=5e-3, rtol=0)
    assert float(final.mean()) == pytest.approx(mean + deviation * float(noise.mean()), abs=3e-3)
    assert float(final.std()) == pytest.approx(deviation * float(noise.std()), rel=5e-3)


@pytest.mark.parametrize("solver", [*FIXED, "dopri5"])
def test_evaluations_are_counted_and_time_runs_back(solver: str) -> None:
    calls = 0

    def velocity(x: Tensor, t: Tensor) -> Tensor:
        nonlocal calls
        calls += 1
        return growth(x, t)

    start = torch.ones(3, dtype=torch.float64)
    there = integrate(velocity, start, steps=400, solver=solver)
    assert there.nfe == calls
    if solver in FIXED:
        assert there.nfe == nfe(solver, 400)
    back = integrate(growth, there.final, steps=400, solver=solver, start=1.0, end=0.0)
    torch.testing.assert_close(back.final, start, atol=5e-3, rtol=0)


def test_knots_hold_the_trajectory_with_both_ends() -> None:
    start = torch.ones(2, 3)
    solution = integrate(growth, start, steps=20, solver="heun", knots=6)
    assert solution.knots is not None and solution.times is not None
    assert solution.knots.shape == (6, 2, 3)
    torch.testing.assert_close(solution.times, torch.linspace(0, 1, 6))
    assert torch.equal(solution.knots[0], start)
    assert torch.equal(solution.knots[-1], solution.final)
    exact = solution.times.sin().exp()[:, None, None].expand(6, 2, 3)
    torch.testing.assert_close(solution.knots, exact, atol=2e-3, rtol=0)


def test_knots_are_spread_over_the_steps() -> None:
    assert knot_steps(50, 12) == [0, 5, 9, 14, 18, 23, 27, 32, 36, 41, 45, 50]
    assert knot_steps(4, 0) == []
    with pytest.raises(ValueError, match="4 steps have 2 to 5 knots, not 6"):
        knot_steps(4, 6)


@pytest.mark.parametrize("solver", [*FIXED, "dopri5"])
def test_nan_is_an_error_that_names_tensor_step_and_time(solver: str) -> None:
    def velocity(x: Tensor, t: Tensor) -> Tensor:
        return torch.where(t > 0.45, torch.nan, x)

    with pytest.raises(WeirError, match=r"velocity of shape \[7\] has 7 .*step \d+, t = 0\."):
        integrate(velocity, torch.ones(7), steps=10, solver=solver)


def test_overflow_of_the_state_is_an_error() -> None:
    with pytest.raises(WeirError, match="state of shape"):
        integrate(lambda x, t: x.sign() * 3e38, torch.full((2,), 3e38), steps=1, solver="euler")


def test_dopri5_says_where_it_stopped() -> None:
    with pytest.raises(WeirError, match=r"stopped at t = .* after 2 steps"):
        integrate(lambda x, t: (100 * t).cos() * 50, torch.ones(1), steps=2, solver="dopri5")
