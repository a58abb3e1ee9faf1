"""Increasing maps of the real line whose parameters come from a network, for zuko's flows.

All are the identity (or near it) at parameters of zero, are onto, and use only operations that have
deterministic derivatives of second order on every device.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor
from torch.distributions import Transform, constraints
from torch.nn import functional
from zuko.transforms import MonotonicRQSTransform

_HALVINGS = 40
"""Of the bracket in which an inverse is sought; more than float32 can tell apart."""


class LogisticMixture(Transform):
    """`y = logit(sum_k w_k sigmoid((x - m_k) / s_k))`: smooth, and linear far out.

    With one component it is affine; with several it takes a mixture of logistic laws to a single
    one (the coupling of Ho et al. 2019, "Flow++"; a gaussianization up to the last, fixed step,
    Meng et al. 2020, "Gaussianization Flows"). Computed from logarithms throughout, so that neither
    value nor score suffers where the distribution function is near 0 or 1.

    Args:
        weight: unconstrained weights, `[..., component]`.
        shift: means `m`, `[..., component]`.
        scale: ln s before it is bounded, `[..., component]`.
        bound: largest absolute ln s.
    """

    domain = constraints.real
    codomain = constraints.real
    bijective = True
    sign = +1

    def __init__(self, weight: Tensor, shift: Tensor, scale: Tensor, bound: float = 7.0) -> None:
        super().__init__()
        self.log_weight = weight.log_softmax(-1)
        self.shift = shift
        self.log_scale = bound * torch.tanh(scale / bound)

    def _tails(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Log of the distribution function and of its complement, and the arguments."""
        z = (x[..., None] - self.shift) * (-self.log_scale).exp()
        below = torch.logsumexp(self.log_weight + functional.logsigmoid(z), -1)
        above = torch.logsumexp(self.log_weight + functional.logsigmoid(-z), -1)
        return below, above, z

    def _call(self, x: Tensor) -> Tensor:
        below, above, _ = self._tails(x)
        return below - above

    def call_and_ladj(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The value and the log of the derivative, each of x's shape."""
        below, above, z = self._tails(x)
        logs = functional.logsigmoid(z) + functional.logsigmoid(-z)
        density = torch.logsumexp(self.log_weight - self.log_scale + logs, -1)
        return below - above, density - below - above

    def log_abs_det_jacobian(self, x: Tensor, y: Tensor) -> Tensor:
        """Log of the derivative."""
        return self.call_and_ladj(x)[1]

    def _inverse(self, y: Tensor) -> Tensor:
        # A mixture's distribution function lies between those of its components.
        alone = self.shift + self.log_scale.exp() * y[..., None]
        return bisect(self._call, y, alone.amin(-1), alone.amax(-1))


class SumOfSquares(Transform):
    """Integral of a mean of squared polynomials, by an exact quadrature (Jaini et al. 2019).

    `f(x) = shift + int_0^x (mean_k (1 + sum_j a_kj (v / bound)^j)^2 + slope) dv / (1 + slope)`. The
    slope keeps it strictly increasing and onto.

    Args:
        shift: value at 0, `[...]`.
        coefficient: `a`, `[..., polynomial, degree + 1]`.
        bound: scale of the powers.
        slope: least slope, up to the normalisation.
    """

    domain = constraints.real
    codomain = constraints.real
    bijective = True
    sign = +1

    def __init__(
        self, shift: Tensor, coefficient: Tensor, bound: float = 3.0, slope: float = 1e-3
    ) -> None:
        super().__init__()
        self.shift, self.coefficient = shift, coefficient
        self.bound, self.slope = bound, slope
        degree = coefficient.shape[-1] - 1
        nodes, weights = np.polynomial.legendre.leggauss(degree + 1)
        self.nodes = coefficient.new_tensor((nodes + 1) / 2)
        self.weights = coefficient.new_tensor(weights / 2)

    def _derivative(self, x: Tensor) -> Tensor:
        """`[..., n]` at points `[..., n]`."""
        v = x / self.bound
        value = self.coefficient[..., -1:].expand(*self.coefficient.shape[:-1], v.shape[-1])
        for j in range(self.coefficient.shape[-1] - 2, -1, -1):
            value = value * v[..., None, :] + self.coefficient[..., j : j + 1]
        return ((1 + value).square().mean(-2) + self.slope) / (1 + self.slope)

    def _call(self, x: Tensor) -> Tensor:
        inner = self._derivative(x[..., None] * self.nodes)
        return self.shift + x * (inner * self.weights).sum(-1)

    def call_and_ladj(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The value and the log of the derivative, each of x's shape."""
        return self._call(x), self._derivative(x[..., None])[..., 0].log()

    def log_abs_det_jacobian(self, x: Tensor, y: Tensor) -> Tensor:
        """Log of the derivative."""
        return self.call_and_ladj(x)[1]

    def _inverse(self, y: Tensor) -> Tensor:
        # The slope alone bounds how far the inverse can be; a wide start would waste halvings.
        reach = torch.full_like(y, 4.0)
        for _ in range(12):
            short = (self._call(-reach) > y) | (self._call(reach) < y)
            if not bool(short.any()):
                break
            reach = torch.where(short, 2 * reach, reach)
        return bisect(self._call, y, -reach, reach)


class Spline(MonotonicRQSTransform):
    """Rational-quadratic spline (Durkan et al. 2019) inside `[-bound, bound]`, identity outside.

    Its density has kinks and its score jumps at every knot: good for likelihood, bad as a score.
    As zuko's, but knots are summed by a matrix, since cumulative sums on a GPU are not
    deterministic.

    Args:
        widths: unconstrained, `[..., bin]`.
        heights: unconstrained, `[..., bin]`.
        slopes: unconstrained, `[..., bin - 1]`.
        bound: of the interval.
        least: least slope and least relative width.
    """

    def __init__(
        self,
        widths: Tensor,
        heights: Tensor,
        slopes: Tensor,
        bound: float = 6.0,
        least: float = 1e-3,
    ) -> None:
        Transform.__init__(self)
        limit = -math.log(least)
        self.horizontal = bound * _knots(widths / (1 + (2 * widths / limit).abs()))
        self.vertical = bound * _knots(heights / (1 + (2 * heights / limit).abs()))
        slopes = slopes / (1 + (slopes / limit).abs())
        self.derivatives = functional.pad(slopes, (1, 1)).exp()


def _knots(logits: Tensor) -> Tensor:
    """Knots `[..., bin + 1]` between -1 and 1 of unconstrained bins."""
    bins = logits.shape[-1]
    sums = torch.ones(bins, bins + 1, dtype=logits.dtype, device=logits.device).triu(1)
    return 2 * (logits.softmax(-1) @ sums) - 1


def bisect(f: Callable[[Tensor], Tensor], y: Tensor, low: Tensor, high: Tensor) -> Tensor:
    """The `x` between `low` and `high` at which an increasing `f` is `y`, elementwise."""
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        below = f(middle) < y
        low, high = torch.where(below, middle, low), torch.where(below, high, middle)
    return (low + high) / 2
