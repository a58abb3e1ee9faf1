"""Collapse of the latents of a variational autoencoder, watched in training.

A collapsed posterior equals the prior: its variance is one and its mean the same for every item.
So a large posterior variance is no sign of life but the opposite; what counts is how much the
*mean* varies from item to item, and how much information that is.

References:
    Burda, Grosse, Salakhutdinov, Importance Weighted Autoencoders, ICLR 2016: active units.
    Hoffman, Johnson, ELBO surgery, 2016: E KL(q(z|x) || p) = I(x; z) + KL(q(z) || p).
"""

from __future__ import annotations

import logging
import math
from typing import NamedTuple

import torch
from torch import Tensor, nn

_log = logging.getLogger(__name__)

ACTIVE = 0.01
"""Variance of a latent's posterior mean over items from which on it is active."""


class LatentUse(NamedTuple):
    """What latents tell of their items.

    Attributes:
        kl: `[latent]`, mean divergence of the posterior from the standard normal law, nats.
        active: `[latent]` bool: the posterior mean varies over items (by more than `ACTIVE`).
        mutual_information: `[]`, between item and latent, nats; at most log of the items.
        prior_gap: `[]`, divergence of the posterior of all items together from the prior, nats:
            the part of `kl` that is no information. Too large where the information is capped.
    """

    kl: Tensor
    active: Tensor
    mutual_information: Tensor
    prior_gap: Tensor


@torch.no_grad()
def latent_use(mean: Tensor, log_variance: Tensor, items: int = 512) -> LatentUse:
    """What the latents of some items tell of them.

    The information is estimated as the mean of `log q(z|x) - log q(z)` over one draw of each item,
    where `q(z)` is the mixture of the items' posteriors. Draws come from a generator of their own.

    Args:
        mean: `[item, latent]`, of the posteriors.
        log_variance: `[item, latent]`.
        items: evenly spaced ones that the information is estimated from.
    """
    kl = 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance).mean(0)
    active = mean.var(0, correction=0) > ACTIVE
    count = min(items, len(mean))
    chosen = torch.linspace(0, len(mean) - 1, count, device=mean.device).round().long()
    m, v = mean[chosen].double(), log_variance[chosen].double()
    noise = torch.randn(m.shape, generator=torch.Generator().manual_seed(0), dtype=m.dtype)
    z = m + noise.to(m) * (0.5 * v).exp()
    precision = (-v).exp()
    # log q(z_i | x_j) for all pairs, less the constant, by three products of matrices.
    inside = z.square() @ precision.T - 2 * z @ (m * precision).T + (m.square() * precision).sum(1)
    log_q = -0.5 * (inside + v.sum(1))
    information = (log_q.diagonal() - log_q.logsumexp(1)).mean() + math.log(count)
    information = information.clamp(min=0).to(kl)
    return LatentUse(kl, active, information, kl.sum() - information)


class CollapseWatch(nn.Module):
    """Looks at the latents of a training batch now and then, and warns once of a collapse.

    A look is bad if fewer than `least_active` of the latents are active, or if they hold less than
    `least_information`. After `patience` bad looks in a row, that is within `every * patience`
    steps of a collapse that comes after the grace, there is one warning with advice. What it knows
    is kept in buffers of the objective, so that a training that is resumed goes on as it would.

    Args:
        steps: steps of the training.
        every: steps between looks.
        sets: items that the information is estimated from.
        least_active: share of latents.
        least_information: nats.
        patience: bad looks in a row.
        grace: share of the training in the beginning whose looks do not count.
    """

    values: Tensor
    bad: Tensor

    NAMES = ("active_units", "mutual_information", "prior_gap", "reconstruction_gain", "collapsed")

    def __init__(
        self,
        steps: int,
        every: int,
        sets: int,
        least_active: float,
        least_information: float,
        patience: int,
        grace: float,
    ) -> None:
        super().__init__()
        self.steps, self.every, self.sets = steps, every, sets
        self.patience, self.grace = patience, grace
        self.least_active, self.least_information = least_active, least_information
        self.register_buffer("values", torch.zeros(len(self.NAMES)))
        self.register_buffer("bad", torch.zeros((), dtype=torch.int64))

    def due(self, progress: float) -> bool:
        """Whether it is time to look, when `progress` (0 to 1) of the steps are done."""
        return round(progress * self.steps) % self.every == 0

    def seen(self) -> dict[str, Tensor]:
        """What the last look saw: share of `active_units`, `mutual_information`, `prior_gap` and
        `reconstruction_gain` in nats, and whether the latents have `collapsed` (0 or 1)."""
        return dict(zip(self.NAMES, self.values.clone(), strict=True))

    @torch.no_grad()
    def look(self, mean: Tensor, log_variance: Tensor, gain: Tensor, progress: float) -> None:
        """Look at the latents of a batch; an empty one is passed over.

        Args:
            mean: `[item, latent]`.
            log_variance: `[item, latent]`.
            gain: `[]`, nats an item by which reconstruction is better than from z = 0.
            progress: share of the training done.
        """
        if len(mean) < 2:
            return
        use = latent_use(mean.float(), log_variance.float(), self.sets)
        active = use.active.float().mean()
        poor = (active < self.least_active) | (use.mutual_information < self.least_information)
        counted = poor if progress >= self.grace else torch.zeros_like(poor)
        before = self.bad >= self.patience
        self.bad.copy_(torch.where(counted, self.bad + 1, torch.where(before, self.bad, 0)))
        collapsed = self.bad >= self.patience
        told = torch.stack([active, use.mutual_information, use.prior_gap, gain, collapsed.float()])
        self.values.copy_(told)
        if bool(collapsed & ~before):
            _log.warning(
                "the latents have collapsed at %.0f %% of the training: %.0f %% are active and "
                "hold %.2f nats (reconstruction gains %.2f over z = 0); lower prior.beta, give "
                "each latent prior.free_bits, or lengthen prior.warmup",
                100 * progress, 100 * active, use.mutual_information, gain,
            )  # fmt: skip
