"""Solvers of `dx/dt = v(x, t)` that count what they cost and refuse to continue on NaN.

Fixed steps: Euler (order 1), Heun and midpoint (order 2). `dopri5` chooses its steps by the
embedded pair of Dormand & Prince (1980), order 5 with an error estimate of order 4; it reuses its
last slope, so that a step costs six evaluations.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from weir.errors import WeirError

SolverName = Literal["euler", "heun", "midpoint", "dopri5"]
Velocity = Callable[[Tensor, Tensor], Tensor]

EVALUATIONS: dict[str, int] = {"euler": 1, "heun": 2, "midpoint": 2}
"""Network evaluations of one step of each fixed-step solver."""

NODES = (1 / 5, 3 / 10, 4 / 5, 8 / 9, 1.0, 1.0)
TABLEAU = (
    (1 / 5,),
    (3 / 40, 9 / 40),
    (44 / 45, -56 / 15, 32 / 9),
    (19372 / 6561, -25360 / 2187, 64448 / 6561, -212 / 729),
    (9017 / 3168, -355 / 33, 46732 / 5247, 49 / 176, -5103 / 18656),
    (35 / 384, 0.0, 500 / 1113, 125 / 192, -2187 / 6784, 11 / 84),
)
ERROR = (71 / 57600, 0.0, -71 / 16695, 71 / 1920, -17253 / 339200, 22 / 525, -1 / 40)
"""Dormand and Prince's pair: times, stages (the last row is the step), error estimate."""


@dataclass(frozen=True)
class Solution:
    """What a solver found.

    Attributes:
        final: the state at the last time, of the initial state's shape.
        nfe: evaluations of the velocity that were spent.
        knots: `[knot, ...]`, the states at the recorded times; None if none was asked for.
        times: `[knot]`, the recorded times; None if none was asked for.
    """

    final: Tensor
    nfe: int
    knots: Tensor | None = None
    times: Tensor | None = None


def nfe(solver: str, steps: int) -> int:
    """Evaluations of the velocity that `steps` steps of a fixed-step solver cost."""
    if solver not in EVALUATIONS:
        raise ValueError(
            f"the cost of {solver!r} is not known beforehand; fixed-step solvers: "
            + ", ".join(EVALUATIONS)
        )
    return EVALUATIONS[solver] * steps


def integrate(
    velocity: Velocity,
    x: Tensor,
    *,
    steps: int,
    solver: SolverName = "heun",
    start: float = 0.0,
    end: float = 1.0,
    knots: int = 0,
    rtol: float = 1e-5,
    atol: float = 1e-5,
) -> Solution:
    """Follow `velocity` from `x` at `start` to `end`.

    Args:
        velocity: `(x, t) -> dx/dt`, of x's shape; `t` is a scalar tensor of x's dtype.
        x: the initial state, any shape.
        steps: equal steps of a fixed-step solver; most accepted and rejected steps of `dopri5`.
        solver: `euler`, `heun`, `midpoint` or `dopri5`.
        start: first time.
        end: last time; may lie before `start`.
        knots: how many states to record, evenly over the steps, the first and the last
            among them; 0 records none. Only for fixed steps; at most `steps + 1`.
        rtol: relative tolerance of a step of `dopri5`.
        atol: absolute tolerance of a step of `dopri5`.

    Raises:
        WeirError: the velocity or the state is not finite, or `dopri5` ran out of steps.
    """
    if steps < 1:
        raise ValueError(f"a solver needs at least one step, got {steps}")
    if solver == "dopri5":
        if knots:
            raise ValueError("knots lie at fixed steps; the adaptive solver has none")
        return _dopri5(velocity, x, steps, start, end, rtol, atol)
    if solver not in EVALUATIONS:
        raise ValueError(f"unknown solver {solver!r}; known: {', '.join(EVALUATIONS)}, dopri5")
    return _fixed(velocity, x, steps, solver, start, end, knot_steps(steps, knots))


def knot_steps(steps: int, knots: int) -> list[int]:
    """After which steps the knots lie: `knots` whole numbers from 0 to `steps`, evenly spread."""
    if knots == 0:
        return []
    if not 2 <= knots <= steps + 1:
        raise ValueError(f"{steps} steps have 2 to {steps + 1} knots, not {knots}")
    return [round(i * steps / (knots - 1)) for i in range(knots)]


def _fixed(
    velocity: Velocity,
    x: Tensor,
    steps: int,
    solver: str,
    start: float,
    end: float,
    recorded: Sequence[int],
) -> Solution:
    times = torch.linspace(start, end, steps + 1, dtype=x.dtype, device=x.device)
    kept = [x] if 0 in recorded else []
    for step in range(steps):
        t, h = times[step], times[step + 1] - times[step]
        slope = _finite(velocity(x, t), "velocity", step, t)
        if solver == "heun":
            ahead = _finite(velocity(x + h * slope, times[step + 1]), "velocity", step, t)
            slope = (slope + ahead) / 2
        elif solver == "midpoint":
            slope = _finite(velocity(x + h / 2 * slope, t + h / 2), "velocity", step, t)
        x = _finite(x + h * slope, "state", step, times[step + 1])
        if step + 1 in recorded:
            kept.append(x)
    knots = torch.stack(kept) if recorded else None
    at = times[torch.tensor(recorded, device=x.device)] if recorded else None
    return Solution(x, EVALUATIONS[solver] * steps, knots, at)


def _dopri5(
    velocity: Velocity,
    x: Tensor,
    most: int,
    start: float,
    end: float,
    rtol: float,
    atol: float,
) -> Solution:
    t, h = start, (end - start) / 10
    first = _finite(velocity(x, x.new_tensor(t)), "velocity", 0, x.new_tensor(t))
    cost = 1
    for step in range(most):
        last = abs(h) >= abs(end - t) * (1 - 1e-9)
        h = end - t if last else h
        slopes, ahead = [first], x
        for node, row in zip(NODES, TABLEAU, strict=True):
            ahead = x + h * _combine(row, slopes)
            now = x.new_tensor(t + node * h)
            slopes.append(_finite(velocity(ahead, now), "velocity", step, now))
        cost += len(NODES)
        scale = atol + rtol * torch.maximum(x.abs(), ahead.abs())
        ratio = float((h * _combine(ERROR, slopes) / scale).square().mean().sqrt())
        if ratio <= 1:
            t, x, first = t + h, ahead, slopes[-1]
            if last:
                return Solution(x, cost)
        h *= min(5.0, max(0.2, 0.9 * max(ratio, 1e-10) ** (-1 / 5)))
    raise WeirError(
        f"dopri5: stopped at t = {t:.4g} after {most} steps; allow more steps or a larger tolerance"
    )


def _combine(weights: Sequence[float], slopes: Sequence[Tensor]) -> Tensor:
    terms = [w * k for w, k in zip(weights, slopes, strict=True) if w]
    return torch.stack(terms).sum(0)


def _finite(value: Tensor, name: str, step: int, t: Tensor) -> Tensor:
    return require_finite(value, name, f"at step {step}, t = {float(t):.4g}")


def require_finite(value: Tensor, name: str, where: str) -> Tensor:
    """`value` itself, or the error that says which tensor ceased to be finite, and where."""
    if not bool(torch.isfinite(value).all()):
        bad = int((~torch.isfinite(value)).sum())
        raise WeirError(
            f"sampler: {name} of shape {list(value.shape)} has {bad} values that are not finite "
            + where
        )
    return value
