"""A density in two parts: in closed form where noise leaves rough shapes only, a flow below."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from weir.flows.paths import expand_time
from weir.tasks.image.data.scale import SIGMA_DATA
from weir.tasks.image.density.class_gaussians import ClassGaussians
from weir.tasks.image.density.density import Density


class CoarseToFine(nn.Module):
    """`log q(u | sigma, class)`: mixtures of Gaussians from a noise on, a flow below it.

    Where noise hides all but the rough shape, an autoregressive flow, which sees noisy pixels in
    their order, is worse at telling it than a few dozen Gaussians, which see all of them at once.

    Args:
        fine: the flow.
        priors: share of each class.
        above: noise, event scale, from which on the Gaussians are the density.
        components: Gaussians of a class.
        rank: directions in which each has its own variance.
    """

    def __init__(
        self,
        fine: Density,
        priors: Sequence[float],
        *,
        above: float,
        components: int,
        rank: int,
    ) -> None:
        super().__init__()
        self.fine, self.learnt_below = fine, above
        self.components, self.rank = components, rank
        self.coarse = ClassGaussians(fine.size, priors)

    def fit(self, events: Tensor, label: Tensor, floor: float) -> None:
        """Fit the Gaussians to clean events `[item, size]` of classes `[item]`.

        Args:
            events: event scale.
            label: of each.
            floor: least variance of any direction.
        """
        self.coarse.fit(events, label, components=self.components, rank=self.rank, floor=floor)

    def log_prob(self, u: Tensor, sigma: Tensor, label: Tensor) -> Tensor:
        """See `Density.log_prob`."""
        rough = sigma >= self.learnt_below
        if not rough.any():
            return self.fine.log_prob(u, sigma, label)
        total = (sigma.square() + SIGMA_DATA**2)[rough]
        x = (u[rough] * expand_time(total.sqrt(), u)).flatten(1)
        found = self.coarse.log_prob(x, sigma[rough], label[rough])
        log = u.new_zeros(len(u))
        log[rough] = found + 0.5 * self.fine.size * total.log()
        if not rough.all():
            log[~rough] = self.fine.log_prob(u[~rough], sigma[~rough], label[~rough])
        return log

    @torch.no_grad()
    def sample(
        self, sigma: Tensor, label: Tensor, generator: torch.Generator | None = None
    ) -> Tensor:
        """See `Density.sample`."""
        rough = sigma >= self.learnt_below
        if not rough.any():
            return self.fine.sample(sigma, label, generator)
        noise = sigma[rough]
        drawn = self.coarse.sample(noise, label[rough], generator)
        drawn = drawn / (noise.square() + SIGMA_DATA**2).sqrt()[:, None]
        u = drawn.new_empty(len(sigma), *self.fine.shape)
        u[rough] = drawn.unflatten(1, self.fine.shape)
        if not rough.all():
            u[~rough] = self.fine.sample(sigma[~rough], label[~rough], generator)
        return u
