"""A mixture of Gaussians whose density, score and denoiser are known at every noise."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class GaussianMixture:
    """Isotropic components in the plane.

    Attributes:
        weight: `[component]`.
        mean: `[component, 2]`.
        deviation: `[component]`.
    """

    weight: Tensor
    mean: Tensor
    deviation: Tensor

    def draw(self, count: int, generator: torch.Generator) -> Tensor:
        """`[count, 2]`."""
        which = torch.multinomial(self.weight, count, replacement=True, generator=generator)
        white = torch.randn(count, 2, generator=generator, dtype=self.mean.dtype)
        return self.mean[which] + self.deviation[which, None] * white

    def log_prob(self, x: Tensor, sigma: Tensor) -> Tensor:
        """Log density `[point]` of data with noise at `x`, `[point, 2]`; sigma `[]`, `[point]`."""
        return self._parts(x, sigma).logsumexp(-1)

    def denoise(self, x: Tensor, sigma: Tensor) -> Tensor:
        """`E[y | x]`, `[point, 2]`, as the mean over components of their Wiener filters."""
        share = self._parts(x, sigma).softmax(-1)
        variance = self.deviation.square()
        gain = variance / (variance + sigma.square()[..., None])
        by_component = self.mean + gain[..., None] * (x[:, None] - self.mean)
        return (share[..., None] * by_component).sum(1)

    def _parts(self, x: Tensor, sigma: Tensor) -> Tensor:
        variance = self.deviation.square() + sigma.square()[..., None]
        square = (x[:, None] - self.mean).square().sum(-1)
        return self.weight.log() - square / (2 * variance) - (2 * math.pi * variance).log()


def two_clusters(dtype: torch.dtype = torch.float64) -> GaussianMixture:
    """Two unequal clusters, whose standard deviation by coordinate is about .5."""
    return GaussianMixture(
        torch.tensor([0.7, 0.3], dtype=dtype),
        torch.tensor([[-0.3, 0.4], [0.7, -0.6]], dtype=dtype),
        torch.tensor([0.15, 0.25], dtype=dtype),
    )
