"""Flows under EDM: one field that serves as denoiser, as velocity and in the samplers."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from weir.flows import edm
from weir.flows.paths import Path, expand_time
from weir.flows.solvers import Solution
from weir.tasks.image.data.scale import SIGMA_DATA
from weir.tasks.image.flow.image_flow import ImageCondition, ImageFlow, ImageSolver, flat


class EdmFlow(ImageFlow):
    """A flow given by EDM's field F: `D = c_skip x + c_out F(u, sigma, c)`, `u = c_in x`.

    In `u` and the time of the trigonometric path, F is the velocity up to a factor: with
    `tan a = sigma_data / sigma`, `a = pi t / 2`, the clean event in units of its deviation is
    `sin a u + cos a F`, whence `du/dt = (pi / 2) F`. So teacher pairs join white noise and
    `y / sigma_data`, and students are what they are for any flow.

    Args:
        noise: noises of training and sampling.
        settings: those of `ImageFlow`.
    """

    has_denoiser = True

    def __init__(self, *args: Any, noise: edm.NoiseRange | None = None, **settings: Any) -> None:
        super().__init__(*args, **settings)
        self.noise = edm.NoiseRange() if noise is None else noise
        self.path = Path("trigonometric")

    def field(self, u: Tensor, sigma: Tensor, label: Tensor, step: Tensor | None = None) -> Tensor:
        """F, of u's shape.

        Args:
            u: `[item, *event]`, of unit variance at every noise.
            sigma: `[item]`.
            label: `[item]` int64.
            step: `[item]`, size of a student's step in time.
        """
        raise NotImplementedError

    def guided(self, u: Tensor, sigma: Tensor, label: Tensor, step: Tensor | None = None) -> Tensor:
        """F under classifier-free guidance; shapes as `field`."""
        field = self.field(u, sigma, label, step)
        if not self.guidance:
            return field
        without = self.field(u, sigma, self.unlabelled(label), step)
        return field + self.guidance * (field - without)

    def velocity(
        self, x: Tensor, t: Tensor, condition: ImageCondition, step: Tensor | None = None
    ) -> Tensor:
        """`du/dt` at `x`, `[condition, draw, *event]`."""
        u, time, label, size = flat(x, t, condition, step)
        noise = self.noise
        sigma = edm.sigma_of(time, SIGMA_DATA, noise.sigma_min, noise.sigma_max)
        return (math.pi / 2) * self.guided(u, sigma, label, size).reshape(x.shape)

    def denoise(self, event: Tensor, sigma: Tensor, label: Tensor | None = None) -> Tensor:
        """See `ImageModel.denoise`; without guidance."""
        label = self.unlabelled(event) if label is None else label
        return self._denoised(event, sigma, label, guided=False)

    def _denoised(self, x: Tensor, sigma: Tensor, label: Tensor, *, guided: bool) -> Tensor:
        c = edm.Preconditioning(
            *(expand_time(part, x) for part in edm.preconditioning(sigma, SIGMA_DATA))
        )
        field = self.guided if guided else self.field
        return c.skip * x + c.out * field(c.input * x, sigma, label)

    def sigmas(self, steps: int) -> Tensor:
        """Noises `[steps + 1]` of the samplers."""
        n = self.noise
        return edm.karras_sigmas(steps, n.sigma_min, n.sigma_max, n.rho)

    def step_times(self, steps: int, solver: Any = None) -> Tensor:
        """Times of the samplers' noises; white noise, at the first, stands for time 0."""
        if (solver or self.solver) not in edm.SOLVERS:
            return super().step_times(steps, solver)
        times = edm.time_of(self.sigmas(steps), SIGMA_DATA)
        times[0] = 0
        return times

    def transport(
        self,
        x: Tensor,
        condition: ImageCondition,
        *,
        steps: int | None = None,
        solver: ImageSolver | None = None,
        knots: int = 0,
        generator: torch.Generator | None = None,
    ) -> Solution:
        """Carry white noise to events of unit variance; knots are states in `u`.

        A teacher follows EDM's samplers in (x, sigma); `midpoint` and `dopri5` solve for `u` in
        time. `generator` is for the noise of `ancestral`.
        """
        solver = self.solver if solver is None else solver
        if self.student or solver not in edm.SOLVERS:
            return super().transport(x, condition, steps=steps, solver=solver, knots=knots)
        steps = self.steps if steps is None else steps
        sigmas = self.sigmas(steps).to(x)
        found = self.follow(sigmas[0] * x, condition, sigmas, solver, generator, knots)
        final = found.final / SIGMA_DATA
        if found.knots is None or found.times is None:
            return Solution(final, found.nfe)
        unit = (found.times.square() + SIGMA_DATA**2).rsqrt()
        states = expand_time(unit, found.knots) * found.knots
        states[0] = x
        times = edm.time_of(found.times, SIGMA_DATA)
        times[0] = 0
        return Solution(final, found.nfe, states, times)

    def follow(
        self,
        x: Tensor,
        condition: ImageCondition,
        sigmas: Tensor,
        solver: Any,
        generator: torch.Generator | None = None,
        knots: int = 0,
    ) -> Solution:
        """Take noise off `x`, `[condition, draw, *event]`, event units, down `sigmas`."""

        def denoiser(x: Tensor, sigma: Tensor) -> Tensor:
            items, noise, label, _ = flat(x, sigma, condition, None)
            return self._denoised(items, noise, label, guided=True).reshape(x.shape)

        return edm.sample(denoiser, x, sigmas, solver=solver, generator=generator, knots=knots)

    def nfe(self, steps: int | None = None, solver: ImageSolver | None = None) -> int:
        """Evaluations of the field per sample; guidance doubles them."""
        solver = self.solver if solver is None else solver
        both = 2 if self.guidance else 1
        if self.student:
            return both * (1 if steps is None else steps)
        if solver == "direct":
            return 1 + both * ((1 if steps is None else steps) - 1)
        steps = self.steps if steps is None else steps
        return both * (
            edm.nfe(solver, steps) if solver in edm.SOLVERS else super().nfe(steps, solver)
        )
