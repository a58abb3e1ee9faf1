"""Diffusion by noise of known size: schedule, preconditioning and samplers of EDM.

Data `y` of standard deviation `sigma_data` is seen as `x = y + sigma n` with white noise `n`; a
denoiser `D(x, sigma)` estimates `E[y | x]`, and `(D - x) / sigma^2` is the score of the law of `x`
(Tweedie). Karras et al. 2022, "Elucidating the Design Space of Diffusion-Based Generative Models".

In `u = x / sqrt(sigma^2 + sigma_data^2)` this is the trigonometric path of `weir.flows.paths`
between noise and `y / sigma_data`, at the time `tan(pi t / 2) = sigma_data / sigma`; `time_of` and
`sigma_of` translate.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from weir.flows.paths import expand_time
from weir.flows.solvers import Solution, knot_steps, require_finite

EdmSolverName = Literal["heun", "euler", "ancestral"]
Denoiser = Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class NoiseRange:
    """Noises of training and sampling, event units.

    Attributes:
        p_mean: mean of ln sigma in training.
        p_std: its standard deviation.
        sigma_min: least noise of the samplers but 0.
        sigma_max: most noise, where sampling begins.
        rho: exponent of the samplers' grid.
    """

    p_mean: float = -1.2
    p_std: float = 1.2
    sigma_min: float = 0.002
    sigma_max: float = 80.0
    rho: float = 7.0

    def level(self, sigma: Tensor) -> Tensor:
        """Where ln sigma lies between the ends of the range: 0 to 1, of sigma's shape.

        EDM's `ln(sigma) / 4` up to shift and scale; noise beyond an end counts as that end.
        """
        low, high = math.log(self.sigma_min), math.log(self.sigma_max)
        return (sigma.clamp(self.sigma_min, self.sigma_max).log() - low) / (high - low)


SOLVERS: tuple[EdmSolverName, ...] = ("heun", "euler", "ancestral")


class Preconditioning(NamedTuple):
    """`D(x) = skip x + out F(input x, noise)`: a network F whose input, output and error are of
    order one at every noise (Karras et al. 2022, table 1)."""

    skip: Tensor
    out: Tensor
    input: Tensor
    noise: Tensor


def preconditioning(sigma: Tensor, sigma_data: float = 0.5) -> Preconditioning:
    """The four coefficients at noises `sigma` (any shape), each of that shape."""
    total = sigma.square() + sigma_data**2
    return Preconditioning(
        sigma_data**2 / total,
        sigma * sigma_data * total.rsqrt(),
        total.rsqrt(),
        sigma.log() / 4,
    )


def sample_sigma(
    shape: tuple[int, ...],
    p_mean: float = -1.2,
    p_std: float = 1.2,
    *,
    below: float = math.inf,
    generator: torch.Generator | None = None,
    device: torch.device | str | None = None,
) -> Tensor:
    """Training noises of the given shape, log-normal.

    Args:
        shape: shape of the result.
        p_mean: mean of ln sigma.
        p_std: standard deviation of ln sigma.
        below: bound of the noises; the law is that of those below it.
        generator: source of randomness; torch's global one by default.
        device: where the noises live.
    """
    if below == math.inf:
        white = torch.randn(shape, generator=generator, device=device)
    else:
        rank = torch.rand(shape, generator=generator, device=device)
        share = torch.special.ndtr(torch.tensor((math.log(below) - p_mean) / p_std))
        white = torch.special.ndtri(rank * share.to(rank))
    return (p_mean + p_std * white).exp()


def karras_sigmas(
    steps: int,
    sigma_min: float = 0.002,
    sigma_max: float = 80.0,
    rho: float = 7.0,
    *,
    device: torch.device | str | None = None,
) -> Tensor:
    """Noises `[steps + 1]` of a sampler: from `sigma_max` down to `sigma_min`, then 0.

    Equal steps of `sigma^(1 / rho)`, which are the shorter the less noise there is. One step goes
    from `sigma_max` to 0 at once.
    """
    if steps < 1:
        raise ValueError(f"a sampler needs at least one step, got {steps}")
    share = torch.arange(steps, dtype=torch.float64) / max(1, steps - 1)
    high, low = sigma_max ** (1 / rho), sigma_min ** (1 / rho)
    sigmas = (high + share * (low - high)) ** rho
    return torch.cat([sigmas, sigmas.new_zeros(1)]).float().to(device)


def time_of(sigma: Tensor, sigma_data: float = 0.5) -> Tensor:
    """Time on the trigonometric path, 1 for no noise."""
    return torch.atan2(torch.full_like(sigma, sigma_data), sigma) * (2 / math.pi)


def sigma_of(
    time: Tensor, sigma_data: float = 0.5, sigma_min: float = 0.0, sigma_max: float = math.inf
) -> Tensor:
    """Noise at a time of the trigonometric path, kept within `sigma_min` and `sigma_max`."""
    # Bounded before the quotient, whose slope at time 0 would be infinite.
    nearest, farthest = math.atan2(sigma_data, sigma_min), math.atan2(sigma_data, sigma_max)
    angle = (time * (math.pi / 2)).clamp(farthest, nearest)
    return sigma_data * angle.cos() / angle.sin()


def nfe(solver: str, steps: int) -> int:
    """Evaluations of the denoiser that `steps` steps cost; Heun's last one is Euler's."""
    if solver not in SOLVERS:
        raise ValueError(f"unknown sampler {solver!r}; known: {', '.join(SOLVERS)}")
    return 2 * steps - 1 if solver == "heun" else steps


def sample(
    denoiser: Denoiser,
    x: Tensor,
    sigmas: Tensor,
    *,
    solver: EdmSolverName = "heun",
    generator: torch.Generator | None = None,
    knots: int = 0,
) -> Solution:
    """Follow the noise down `sigmas` with a denoiser.

    `heun` and `euler` solve the probability-flow equation `dx / dsigma = (x - D(x, sigma)) / sigma`
    in steps of order 2 and 1. `ancestral` draws each step from the Gaussian
    `x' | x, y` at `y = D(x, sigma)`, of mean `y + (sigma' / sigma)^2 (x - y)` and variance
    `sigma'^2 (sigma^2 - sigma'^2) / sigma^2` (Ho et al. 2020, "Denoising Diffusion Probabilistic
    Models", in these units).

    Args:
        denoiser: `(x, sigma) -> E[y | x]`, of x's shape; `sigma` is a scalar tensor, never 0.
        x: data plus noise of size `sigmas[0]`, any shape; `sigmas[0]` times white noise where that
            is much larger than the data.
        sigmas: `[step + 1]`, falling, the last may be 0.
        solver: `heun`, `euler` or `ancestral`.
        generator: source of the noise of `ancestral`; torch's global one by default.
        knots: how many states to record, see `weir.flows.solvers.integrate`; their `times` are
            noises.

    Raises:
        WeirError: a denoised or a noisy state is not finite; the message names step and noise.
    """
    steps = len(sigmas) - 1
    cost = nfe(solver, steps)
    if solver == "heun" and float(sigmas[-1]) > 0:
        cost += 1
    recorded = knot_steps(steps, knots)
    kept = [x] if 0 in recorded else []
    values = sigmas.tolist()
    for step in range(steps):
        here, there = sigmas[step], sigmas[step + 1]
        clean = _finite(denoiser(x, here), "denoised state", step, values[step])
        noise = (x - clean) / here
        if solver == "ancestral":
            fresh = torch.randn(x.shape, generator=generator, device=x.device, dtype=x.dtype)
            ratio = there / here
            x = clean + ratio * there * noise + there * (1 - ratio.square()).sqrt() * fresh
        else:
            ahead = x + (there - here) * noise
            if solver == "heun" and values[step + 1] > 0:
                _finite(ahead, "state", step, values[step + 1])
                clean = _finite(denoiser(ahead, there), "denoised state", step, values[step + 1])
                noise = (noise + (ahead - clean) / there) / 2
                ahead = x + (there - here) * noise
            x = ahead
        x = _finite(x, "state", step, values[step + 1])
        if step + 1 in recorded:
            kept.append(x)
    if not recorded:
        return Solution(x, cost)
    return Solution(x, cost, torch.stack(kept), sigmas[torch.tensor(recorded)])


def noisy(data: Tensor, sigma: Tensor, white: Tensor | None = None) -> Tensor:
    """Data `[item, ...]` with noise of size `sigma`, `[item]`; `white` is drawn by default."""
    white = torch.randn_like(data) if white is None else white
    return data + expand_time(sigma, data) * white


def _finite(value: Tensor, name: str, step: int, sigma: float) -> Tensor:
    return require_finite(value, name, f"at step {step}, sigma = {sigma:.4g}")
