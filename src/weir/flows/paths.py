"""Probability paths between noise `x0` (t = 0) and data `x1` (t = 1), and laws of training times.

A path is the interpolant `x_t = alpha(t) x1 + sigma(t) x0`. Its velocity, the field that an ODE
solver follows, is learnt by regression on `d/dt x_t = alpha'(t) x1 + sigma'(t) x0`
(Lipman et al. 2023, "Flow Matching for Generative Modeling"; Albergo & Vanden-Eijnden 2023,
"Building Normalizing Flows with Stochastic Interpolants").
"""

from __future__ import annotations

import math
from typing import Literal, NamedTuple

import torch
from torch import Tensor

PathName = Literal["linear", "trigonometric"]
TimeLaw = Literal["uniform", "logit_normal"]


class Coefficients(NamedTuple):
    """`alpha`, `sigma` and their derivatives in t, each of t's shape."""

    alpha: Tensor
    sigma: Tensor
    alpha_dot: Tensor
    sigma_dot: Tensor


class Path:
    """A Gaussian interpolant, named by its coefficients.

    * `linear`: `(1 - t) x0 + t x1`, the straight path of flow matching and rectified flow.
    * `trigonometric`: `cos(pi t / 2) x0 + sin(pi t / 2) x1`, which keeps the covariance when noise
      and data share it: the exact velocity between two such Gaussians is zero, so a few steps
      suffice when the source is fitted to the data.
    """

    def __init__(self, name: PathName = "linear") -> None:
        if name not in ("linear", "trigonometric"):
            raise ValueError(f"unknown path {name!r}; known paths: linear, trigonometric")
        self.name: PathName = name

    def coefficients(self, t: Tensor) -> Coefficients:
        """The interpolant's coefficients at times `t` (any shape)."""
        if self.name == "linear":
            return Coefficients(t, 1 - t, torch.ones_like(t), -torch.ones_like(t))
        angle = t * (math.pi / 2)
        sine, cosine = angle.sin(), angle.cos()
        return Coefficients(sine, cosine, cosine * (math.pi / 2), -sine * (math.pi / 2))

    def interpolate(self, x0: Tensor, x1: Tensor, t: Tensor) -> Tensor:
        """`x_t` of the pairs `(x0, x1)`, `[batch, ...]`, at `t`, `[batch, ...]` or `[]`."""
        c = self.coefficients(expand_time(t, x0))
        return c.alpha * x1 + c.sigma * x0

    def target(self, x0: Tensor, x1: Tensor, t: Tensor) -> Tensor:
        """`d x_t / dt`, what the velocity network regresses on; shapes as `interpolate`."""
        c = self.coefficients(expand_time(t, x0))
        return c.alpha_dot * x1 + c.sigma_dot * x0

    def gaussian_gain(self, t: Tensor, step: Tensor | None = None) -> Tensor:
        """`g` such that `g x` is the exact velocity if noise and data share one Gaussian.

        For `x0, x1 ~ N(0, S)` independent, `x_t ~ N(0, s(t)^2 S)` with
        `s^2 = alpha^2 + sigma^2`, and the flow between two times multiplies by the ratio of s.
        So `g = s'(t) / s(t)` and, over a step h, the mean velocity has
        `g = (s(t + h) / s(t) - 1) / h`. A network that only adds to this starts as the Gaussian.

        Args:
            t: times, any shape.
            step: sizes h of steps, of t's shape; None or zero for the velocity itself.
        """
        c = self.coefficients(t)
        square = c.alpha**2 + c.sigma**2
        slope = (c.alpha * c.alpha_dot + c.sigma * c.sigma_dot) / square
        if step is None:
            return slope
        after = self.coefficients(t + step)
        ratio = ((after.alpha**2 + after.sigma**2) / square).sqrt()
        still = step.abs() < 1e-6
        return torch.where(still, slope, (ratio - 1) / torch.where(still, 1.0, step))


def expand_time(t: Tensor, x: Tensor) -> Tensor:
    """`t` with trailing axes of one, so that its leading axes match those of `x`."""
    return t.reshape(t.shape + (1,) * (x.ndim - t.ndim))


def sample_times(
    shape: tuple[int, ...],
    law: TimeLaw = "uniform",
    *,
    mean: float = 0.0,
    deviation: float = 1.0,
    generator: torch.Generator | None = None,
    device: torch.device | str | None = None,
) -> Tensor:
    """Training times in (0, 1) of the given shape.

    Args:
        shape: shape of the result; the first axis is the batch.
        law: `uniform`, stratified over the first axis (one draw in each of its equal intervals,
            in random order, which lowers the loss's variance), or `logit_normal` (Esser et al.
            2024, "Scaling Rectified Flow Transformers"), which favours the middle.
        mean: mean of the logit; used by `logit_normal` only.
        deviation: standard deviation of the logit; used by `logit_normal` only.
        generator: source of randomness; torch's global one by default.
        device: where the times live.
    """
    if law == "logit_normal":
        noise = torch.randn(shape, generator=generator, device=device)
        return torch.sigmoid(mean + deviation * noise)
    if law != "uniform":
        raise ValueError(f"unknown law of times {law!r}; known laws: uniform, logit_normal")
    jitter = torch.rand(shape, generator=generator, device=device)
    strata = torch.randperm(shape[0], generator=generator, device=device)
    return (strata.reshape(-1, *(1,) * (len(shape) - 1)) + jitter) / shape[0]
