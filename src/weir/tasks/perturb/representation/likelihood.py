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

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from weir.tasks.perturb.representation.nb_draws import indices

THETA = (1e-3, 1e6)
"""Range of the inverse dispersion; at its top the counts are Poisson for all purposes."""

_TINY_MEAN = 1e-30
"""Least mean of a positive count, whose log-probability stays finite."""
_EASY_COUNT, _EASY_MEAN = 20, 128.0
"""Up to these, deviances are small enough to be taken as differences of logarithms."""
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

    Its relative error in float32 is below 3e-6 for means from 1e-4 to 1e5, theta from 1e-3 to 1e8
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
        log_ratio = torch.log1p(mean * theta.reciprocal())
        ctx.save_for_backward(mean, theta, log_ratio)
        ctx.positive = positive
        return positive.put(log_ratio * -theta, positive.log_prob)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[None, Tensor | None, Tensor | None]:
        mean, theta, log_ratio = ctx.saved_tensors
        positive = ctx.positive
        share = (mean + theta).reciprocal_()
        by_mean = by_theta = None
        if ctx.needs_input_grad[2]:
            found = positive.put((mean * share).sub_(log_ratio), positive.by_theta())
            by_theta = found.mul_(gradient).sum_to_size(theta.shape)
        if ctx.needs_input_grad[1]:
            by_mean = positive.put(share.mul_(-theta), positive.by_mean()).mul_(gradient)
        return None, by_mean, by_theta


class _Positive:
    """The entries whose count is positive: their log-probability and its derivatives.

    On a CPU they are gathered; elsewhere gathering would wait for the device, and all entries
    are computed, the zeros as if they were ones. What depends on theta alone is computed before
    theta is spread over the cells.
    """

    log_prob: Tensor
    log1p_r: Tensor

    def __init__(self, counts: Tensor, mean: Tensor, theta: Tensor) -> None:
        self.gathered = counts.device.type == "cpu"
        self.shape, self.by_gene = counts.shape, theta
        if self.gathered:
            self.where = indices(counts > 0)
            x, mu = (v.reshape(-1).index_select(0, self.where) for v in (counts, mean))
            one_row = theta.shape == counts.shape[-1:]
            self.place = self.where % len(theta) if one_row else self.where
        else:
            self.where = counts > 0
            x, mu = counts.clamp(min=1), mean
        self.x, self.mu, self.theta = x, mu.clamp(min=_TINY_MEAN), self._spread(theta)
        self.r = (self.x - self.mu) / (self.mu + self.theta)
        self.inverse = (self.x + self.theta).reciprocal()
        self.square = self.inverse.square()
        if self.gathered:
            self._by_logarithms()
        else:
            self.log_prob, self.log1p_r = _accurate(self.x, self.mu, self.theta)

    def put(self, found: Tensor, values: Tensor) -> Tensor:
        """`found` with `values` at the entries; may write into it."""
        if not self.gathered:
            return torch.where(self.where, values, found)
        found.view(-1).scatter_(0, self.where, values)
        return found

    def by_mean(self) -> Tensor:
        """Derivative of the log-probability by the mean."""
        return self.theta * self.r / self.mu

    def by_theta(self) -> Tensor:
        """Derivative of the log-probability by theta.

        It is log(1 + r) - r plus the difference of `digamma(z) - log z` between the total and
        theta, of which the leading terms are subtracted by hand.
        """
        theta = self.by_gene
        # For theta below 1 by way of theta + 1, whose digamma is larger by 1 / theta.
        small = (theta < 1).to(theta.dtype)
        shifted = theta + small
        step = small * (theta.reciprocal() - torch.log1p(theta.reciprocal()))
        constant = step - _digamma_rest(shifted.reciprocal().square())
        found = (self.x - self._spread(small)).mul_(self.inverse)
        found = found.mul_(self._spread(0.5 / shifted)).add_(self._spread(constant))
        return found.add_(_digamma_rest(self.square)).add_(self.log1p_r).sub_(self.r)

    def _spread(self, by_gene: Tensor) -> Tensor:
        """What belongs to theta, at the entries."""
        if not self.gathered:
            return by_gene.expand(self.shape)
        if by_gene.numel() != self.shape[-1]:
            by_gene = by_gene.expand(self.shape)
        return by_gene.reshape(-1).index_select(0, self.place)

    def _by_logarithms(self) -> None:
        """Half the operations of `_accurate`, which then fixes the few large entries."""
        x, mu, theta = self.x, self.mu, self.by_gene
        constant = self._spread(0.5 * theta.log() - _stirling_error(theta, small=True))
        self.log1p_r = torch.log1p(self.r)
        # mu total / both, the part of the total that is expected to be counts.
        expected = (1 + self.r).mul_(mu)
        found = _LOG_FACTORIAL.to(x).index_select(0, x.clamp(max=_EASY_COUNT).long())
        found = constant - found + self.inverse * _polynomial(_STIRLING, self.square)
        found.add_(self.inverse.log(), alpha=0.5).add_(x * expected.log_())
        self.log_prob = found.add_(self.theta * self.log1p_r)
        hard = indices((x > _EASY_COUNT) | (mu > _EASY_MEAN))
        if len(hard):
            fixed = _accurate(*(v.index_select(0, hard) for v in (x, mu, self.theta)))
            for values, better in zip((self.log_prob, self.log1p_r), fixed, strict=True):
                values.scatter_(0, hard, better)


def _accurate(x: Tensor, mu: Tensor, theta: Tensor) -> tuple[Tensor, Tensor]:
    """Log-probability of any positive counts, and `log(1 + r)` for `r = (x - mu) / (mu + theta)`.

    Stirling's errors, less two deviances that are at least 0.
    """
    total, both = x + theta, mu + theta
    r, one_plus_r = (x - mu) / both, total / both
    # The count and its expectation from the total: the ratio, less 1, is s.
    expected = mu * one_plus_r
    s, ratio = theta * r / expected, x / expected
    near = expected * (s.square() - (1 + s) * _excess(s, ratio))
    deviance = torch.where(s.abs() < 0.2, near, x * ratio.log() - theta * r)
    found = _stirling_error(total) - _stirling_error(theta, small=True) - _stirling_error(x)
    found += 0.5 * (theta / (2 * math.pi * x * total)).log()
    log1p_r = torch.where(r < -0.5, one_plus_r.log(), torch.log1p(r))
    return found - theta * _excess(r, one_plus_r) - deviance, log1p_r


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
        inverse = z.reciprocal()
        return inverse * _polynomial(_STIRLING, inverse.square())
    below = (z < 1).to(z.dtype)
    step = (z + 0.5) * torch.log1p(z.reciprocal()) - 1
    return _stirling_error(z + below) + below * step


def _digamma_rest(inverse_square: Tensor) -> Tensor:
    """`digamma(z) - log z + 1 / (2 z)` of `1 / z^2`, for z at least 1."""
    return _polynomial(_DIGAMMA, inverse_square).mul_(inverse_square)


def _polynomial(coefficients: tuple[float, ...], x: Tensor) -> Tensor:
    """`sum_k coefficients[k] x^k`."""
    found = torch.full_like(x, coefficients[-1])
    for coefficient in reversed(coefficients[:-1]):
        found = found.mul_(x).add_(coefficient)
    return found


_LOG_FACTORIAL = torch.lgamma(torch.arange(_EASY_COUNT + 1.0, dtype=torch.float64) + 1)
_LOG_FACTORIAL += torch.arange(_EASY_COUNT + 1.0, dtype=torch.float64)
"""`log x! + x` of small counts x."""
