"""Law of a bin's own noise before the bin is seen: a mixture of Gaussians."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from weir.tasks.clinical.decoder import HALF_LOG_TAU
from weir.tasks.clinical.seqsetvae import LOG_VARIANCE, SetPosterior


class NoiseMixture(NamedTuple):
    """Mixtures of Gaussians with diagonal covariance.

    Attributes:
        logits: `[..., component]` of the components' shares.
        mean: `[..., component, noise]`.
        log_variance: `[..., component, noise]`.
    """

    logits: Tensor
    mean: Tensor
    log_variance: Tensor

    def sample(self, generator: torch.Generator | None = None) -> Tensor:
        """One draw each, `[..., noise]`."""
        share = self.logits.softmax(-1).cumsum(-1)
        chance = torch.empty_like(share[..., :1]).uniform_(generator=generator)
        which = (chance > share[..., :-1]).sum(-1, keepdim=True)[..., None]
        which = which.expand(*which.shape[:-1], self.mean.shape[-1])
        mean, log_variance = (part.gather(-2, which)[..., 0, :] for part in self[1:])
        white = torch.empty_like(mean).normal_(generator=generator)
        return mean + white * (0.5 * log_variance).exp()

    def log_density(self, noise: Tensor) -> Tensor:
        """`[...]` in nats, at `[..., noise]`."""
        off = (noise[..., None, :] - self.mean).square() * (-self.log_variance).exp()
        each = -(0.5 * (off + self.log_variance) + HALF_LOG_TAU).sum(-1)
        return (self.logits.log_softmax(-1) + each).logsumexp(-1)


class NoisePrior(nn.Module):
    """The mixture, given what is known of a bin.

    One Gaussian would not do: whether a panel is measured in a bin is a yes or no that the noise
    tells, mostly no. The noise of bins with a panel lies apart from that of all others, and a
    Gaussian over both has too little where the few are.

    Args:
        width: of what is known.
        noise: width of the noise.
        components: of the mixture.
    """

    def __init__(self, width: int, noise: int, components: int) -> None:
        super().__init__()
        self.shape = (components, 2 * noise + 1)
        self.linear = nn.Linear(width, components * (2 * noise + 1))
        nn.init.zeros_(self.linear.weight)
        # Different from the start, or the components would all learn the same.
        start = torch.zeros(self.shape)
        start[:, 1 : noise + 1].normal_()
        self.linear.bias.data.copy_(start.flatten())

    def forward(self, known: Tensor) -> NoiseMixture:
        """Laws of the noise of bins of which `known` `[..., width]` is known."""
        logits, rest = self.linear(known).unflatten(-1, self.shape).tensor_split([1], -1)
        mean, log_variance = rest.chunk(2, -1)
        return NoiseMixture(logits[..., 0], mean, log_variance.clamp(*LOG_VARIANCE))


def divergence(posterior: SetPosterior, prior: NoiseMixture, noise: Tensor) -> Tensor:
    """Divergence of a normal law from a mixture, `[...]` nats, estimated by a draw `[..., noise]`.

    The posterior's entropy is exact; its mean over draws is the divergence.
    """
    entropy = (0.5 * (posterior.log_variance + 1) + HALF_LOG_TAU).sum(-1)
    return -entropy - prior.log_density(noise)
