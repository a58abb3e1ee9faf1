"""A mixture of Gaussians of low rank plus white noise: closed at every level of added noise.

Mixtures of probabilistic principal components (Tipping & Bishop 1999): component m has the
covariance `V diag(l) V' + s (1 - V V')` with orthonormal directions V, their variances l and the
variance s of all other directions. Noise of variance sigma^2 only adds to l and s.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor


class LowRank(NamedTuple):
    """One mixture.

    Attributes:
        log_weight: `[component]` log of the shares.
        mean: `[component, dimension]`.
        basis: `[component, dimension, rank]`, orthonormal columns.
        variance: `[component, rank]` along the columns, above 0.
        rest: `[component]` variance of all other directions, above 0.
    """

    log_weight: Tensor
    mean: Tensor
    basis: Tensor
    variance: Tensor
    rest: Tensor

    def log_joint(self, x: Tensor, sigma: Tensor) -> Tensor:
        """Log density of each component times its share, with noise, `[point, component]`.

        Args:
            x: `[point, dimension]`.
            sigma: `[point]` deviation of the added noise.
        """
        return self._terms(x, sigma)[0]

    def log_prob(self, x: Tensor, sigma: Tensor) -> Tensor:
        """Log density `[point]` of points with noise; arguments as of `log_joint`."""
        return self.log_joint(x, sigma).logsumexp(dim=1)

    def denoise(self, x: Tensor, sigma: Tensor) -> Tensor:
        """Mean `[point, dimension]` of what noisy points were; arguments as of `log_joint`.

        Each component's answer is a Wiener filter, and counts by how likely the component is.
        """
        log_joint, inside = self._terms(x, sigma)
        share = log_joint.softmax(dim=1)
        noise = sigma.square()
        found = torch.zeros_like(x)
        for m, z in enumerate(inside):
            gain = self.variance[m] / (self.variance[m] + noise[:, None])
            rest = (self.rest[m] / (self.rest[m] + noise))[:, None]
            part = self.mean[m] + rest * (x - self.mean[m]) + ((gain - rest) * z) @ self.basis[m].mT
            found = found + share[:, m, None] * part
        return found

    def sample(self, draws: int, generator: torch.Generator | None = None) -> Tensor:
        """Draws `[draw, dimension]`, in one pass."""
        device, dimension = self.mean.device, self.mean.shape[1]
        which = torch.multinomial(
            self.log_weight.exp(), draws, replacement=True, generator=generator
        )
        white = torch.randn(
            draws, dimension, generator=generator, device=device, dtype=self.mean.dtype
        )
        found = torch.empty_like(white)
        for m in range(len(self.mean)):
            some = which == m
            z = white[some] @ self.basis[m]
            excess = self.variance[m].sqrt() - self.rest[m].sqrt()
            found[some] = (
                self.mean[m] + self.rest[m].sqrt() * white[some] + (excess * z) @ self.basis[m].mT
            )
        return found

    def _terms(self, x: Tensor, sigma: Tensor) -> tuple[Tensor, list[Tensor]]:
        """`log_joint`, and the coordinates `[point, rank]` in each component's basis."""
        dimension, rank = self.basis.shape[1:]
        noise = sigma.square()
        logs, inside = [], []
        for m in range(len(self.mean)):
            off = x - self.mean[m]
            z = off @ self.basis[m]
            variance = self.variance[m] + noise[:, None]
            rest = self.rest[m] + noise
            # What lies outside the basis; at full rank nothing, but for rounding.
            outside = (off.square().sum(dim=1) - z.square().sum(dim=1)).clamp(min=0)
            outside = outside * (dimension > rank)
            squares = (z.square() / variance).sum(dim=1) + outside / rest
            volume = variance.log().sum(dim=1) + (dimension - rank) * rest.log()
            logs.append(
                self.log_weight[m] - (squares + volume + dimension * math.log(2 * math.pi)) / 2
            )
            inside.append(z)
        return torch.stack(logs, dim=1), inside
