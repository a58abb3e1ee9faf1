"""Negative-binomial log-probability of counts, accurate in float32 and cheap where counts are 0.

With mean `mu` and inverse dispersion `theta` the usual form, `lgamma(x + theta) - lgamma(theta) +
x log(mu / (mu + theta)) + ...`, takes differences of large numbers: in float32 it is wrong by 20 %
at theta = 1e6, and rewards larger ones. Here positive counts go through Loader's saddle-point
form, a sum of small terms, and zeros through `-theta log1p(mu / theta)`. As most counts are
zeros, the dear terms are computed for a fifth of the entries.

References:
    Loader, Fast and Accurate Computation of Binomial Probabilities, 2000.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

THETA = (1e-3, 1e6)
"""Range of the inverse dispersion; at its top the counts are Poisson for all purposes."""

_TINY_MEAN = 1e-30
"""Least mean of a positive count, whose log-probability stays finite."""
_STIRLING = (
    0.08333333268,
    -0.002777670165,
    0.000790513906,
    -0.0005568209447,
    0.0005717762067,
    -0.0005674052801,
    0.0004167917103,
    -0.000185814662,
    3.676352963e-05,
)
"""`(log gamma(z + 1) - (z + 1/2) log z + z - log(2 pi) / 2) z` in powers of `1 / z^2`.

A Chebyshev fit for z >= 1, as is the next; within 2e-10.
"""
_DIGAMMA = (
    -0.08333332649,
    0.008332202918,
    -0.003934965793,
    0.003750551009,
    -0.004539948212,
    0.004885561677,
    -0.003738346423,
    0.001704357094,
    -0.0003417524769,
)
"""`(digamma(z) - log z + 1 / (2 z)) z^2` in powers of `1 / z^2`, within 2e-9."""


def nb_log_prob(counts: Tensor, mean: Tensor, theta: Tensor) -> Tensor:
    """Log-probability of whole counts, elementwise, in nats; the arguments broadcast.

    Its relative error in float32 is below 2e-6 for means from 1e-4 to 1e5, theta from 1e-3 to 1e8
    and counts to 1e6. It can be differentiated once, by `mean` and `theta`.

    Args:
        counts: whole numbers, at least 0.
        mean: positive.
        theta: inverse dispersion, positive: the variance is `mean + mean^2 / theta`.
    """
    found: Tensor = _LogProb.apply(*torch.broadcast_tensors(counts, mean), theta)
    return found


def bounded_theta(parameter: Tensor) -> Tensor:
    """Inverse dispersion of an unbounded parameter: a sigmoid between the logarithms of `THETA`."""
    low, high = (math.log(bound) for bound in THETA)
    return (low + (high - low) * parameter.sigmoid()).exp()


def theta_parameter(theta: Tensor) -> Tensor:
    """The inverse of `bounded_theta`; within 1 % of the range's ends it keeps a gradient."""
    low, high = (math.log(bound) for bound in THETA)
    return ((theta.log() - low) / (high - low)).clamp(0.01, 0.99).logit()


class _LogProb(torch.autograd.Function):
    """The log-probability, with derivatives that lose no digits either."""

    @staticmethod
    def forward(ctx: Any, counts: Tensor, mean: Tensor, theta: Tensor) -> Tensor:
        positive = _Positive(counts, mean, theta)
        log_ratio = torch.log1p(mean / theta)
        ctx.save_for_backward(mean, theta, log_ratio)
        ctx.positive = positive
        return positive.put(log_ratio * -theta, _log_prob(*positive.values))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[None, Tensor | None, Tensor | None]:
        mean, theta, log_ratio = ctx.saved_tensors
        positive = ctx.positive
        x, mu, shape = positive.values
        both = mu + shape
        r = (x - mu) / both
        share = 1 / (mean + theta)
        by_mean = by_theta = None
        if ctx.needs_input_grad[2]:
            at_zero = (mean * share).sub_(log_ratio)
            above = _digamma_difference(x, shape) - _excess(r, (x + shape) / both)
            by_theta = positive.put(at_zero, above).mul_(gradient).sum_to_size(theta.shape)
        if ctx.needs_input_grad[1]:
            by_mean = positive.put(share.mul_(-theta), shape * r / mu).mul_(gradient)
        return None, by_mean, by_theta


class _Positive:
    """The entries whose count is positive, and a way to write what is computed for them.

    On a CPU they are gathered; elsewhere gathering would wait for the device, and all entries
    are computed, the zeros as if they were ones.
    """

    values: tuple[Tensor, Tensor, Tensor]

    def __init__(self, counts: Tensor, mean: Tensor, theta: Tensor) -> None:
        self.where: Tensor
        self.gathered = counts.device.type == "cpu"
        if not self.gathered:
            self.where = counts > 0
            mean = mean.clamp(min=_TINY_MEAN)
            self.values = counts.clamp(min=1), mean, theta.expand_as(counts)
            return
        # Numpy looks for true values, which are few, an order faster than torch.
        found = np.flatnonzero((counts > 0).numpy())
        self.where = torch.from_numpy(found)
        if theta.shape == counts.shape[-1:]:
            shape = theta.index_select(0, self.where % len(theta))
        else:
            shape = theta.expand_as(counts).reshape(-1).index_select(0, self.where)
        self.values = (
            counts.reshape(-1).index_select(0, self.where),
            mean.reshape(-1).index_select(0, self.where).clamp_(min=_TINY_MEAN),
            shape,
        )

    def put(self, found: Tensor, values: Tensor) -> Tensor:
        """`found` with `values` at the entries; may write into it."""
        if not self.gathered:
            return torch.where(self.where, values, found)
        found.view(-1).scatter_(0, self.where, values)
        return found


def _log_prob(x: Tensor, mu: Tensor, theta: Tensor) -> Tensor:
    """Log-probability of positive counts: Stirling's errors, and two deviances at least 0."""
    total = x + theta
    both = mu + theta
    r = (x - mu) / both
    excess = _excess(r, total / both)
    # The count and its expectation from the total: the ratio, less 1, is s.
    expected = mu * total / both
    s = theta * r / expected
    ratio = x / expected
    near = expected * (s.square() - (1 + s) * _excess(s, ratio))
    deviance = torch.where(s.abs() < 0.2, near, x * ratio.log() - theta * r)
    found = _stirling_error(total) - _stirling_error(theta, small=True) - _stirling_error(x)
    found += 0.5 * (theta / (2 * math.pi * x * total)).log()
    return found - theta * excess - deviance


def _excess(r: Tensor, ratio: Tensor) -> Tensor:
    """`r - log(ratio)` for `ratio = 1 + r`: at least 0, and exact where r is small."""
    v = r / (1 + ratio)
    square = v.square()
    # log(1 + r) = 2 (v + v^3 / 3 + v^5 / 5 + ...)
    series = r * v - 2 * v * square * _polynomial((1 / 3, 1 / 5, 1 / 7, 1 / 9), square)
    return torch.where(v.abs() < 0.1, series, r - ratio.log())


def _stirling_error(z: Tensor, *, small: bool = False) -> Tensor:
    """What Stirling's formula lacks, `log gamma(z + 1) - log(sqrt(2 pi z) (z / e)^z)`.

    Args:
        z: at least 1, or with `small` positive.
        small: whether z may be below 1.
    """
    if not small:
        inverse = 1 / z
        return inverse * _polynomial(_STIRLING, inverse.square())
    shifted = torch.where(z < 1, z + 1, z)
    step = (z + 0.5) * torch.log1p(1 / z) - 1
    return _stirling_error(shifted) + torch.where(z < 1, step, torch.zeros_like(z))


def _digamma_difference(x: Tensor, theta: Tensor) -> Tensor:
    """`digamma(x + theta) - digamma(theta) - log(1 + x / theta)` for x at least 1."""
    total = x + theta
    shifted = torch.where(theta < 1, theta + 1, theta)
    # For theta below 1 by way of theta + 1, whose digamma is larger by 1 / theta.
    step = 1 / theta - torch.log1p(1 / theta)
    step = torch.where(theta < 1, step, torch.zeros_like(step))
    leading = (total - shifted) / (2 * shifted * total)
    return leading + _digamma_rest(total) - _digamma_rest(shifted) + step


def _digamma_rest(z: Tensor) -> Tensor:
    """`digamma(z) - log z + 1 / (2 z)` for z at least 1."""
    square = z.square().reciprocal()
    return square * _polynomial(_DIGAMMA, square)


def _polynomial(coefficients: tuple[float, ...], x: Tensor) -> Tensor:
    """`sum_k coefficients[k] x^k`."""
    found = torch.full_like(x, coefficients[-1])
    for coefficient in reversed(coefficients[:-1]):
        found = found.mul_(x).add_(coefficient)
    return found
