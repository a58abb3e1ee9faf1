"""Decoder of a bin: how often each code occurs, and with what values, given all that is known.

A bin has noise of its own, whose law before the bin is seen is a mixture of Gaussians.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from weir.tasks.clinical.flow.grid import BinEvents, carry_forward
from weir.tasks.clinical.flow.neighbours import MEMORY, Neighbours
from weir.tasks.clinical.representation.decoder import HALF_LOG_TAU
from weir.tasks.clinical.representation.seqsetvae import LOG_VARIANCE, SetPosterior


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


FAR = 1e4
"""Bins after which nothing is left of a value."""

LOW_SD, HIGH_SD = 0.03, 2.0
"""Limits of the deviation of a value's normal score."""


class BinLaw(NamedTuple):
    """Law of the events of bins.

    Attributes:
        counts: `[..., code, most + 1]` logits of 0, 1, ..., `most` or more events.
        mean: `[..., code]` of the normal score of a value of a code that occurs.
        sd: `[..., code]`, of the same.
        same: `[..., code]` logit that the values are the last one before the bin, again.
    """

    counts: Tensor
    mean: Tensor
    sd: Tensor
    same: Tensor


class BinDecoder(nn.Module):
    """Decoder of the events of a bin from the record's code, what is told and the neighbours.

    What a record's code and the last values leave open is not independent from code to code: a
    panel is measured as a whole, pressures go together. Each bin therefore has noise of its own,
    with a law given all that, inferred in training from the first stage's latent of all the bin's
    events (as in Chung et al. 2015, "A Recurrent Latent Variable Model for Sequential Data").

    Without a code the decoder answers another question: the law of each single value given what is
    shown on both sides. Many are asked at once then, so that nothing can be known of what is made.

    The decoder of the first stage is of single sets and has a Poisson law of counts, which is too
    wide for what is measured once in every bin: here counts are categorical, up to `most`.

    Args:
        code: width of a record's code.
        told: width of what is told of a record.
        codes: number of known codes.
        bins: of the grid.
        d_latent: of the first stage.
        width: hidden width.
        layers: residual layers.
        noise: width of a bin's own noise.
        components: Gaussians of its law.
        most: count from which on counts are one class.
    """

    excess: Tensor
    valued: Tensor

    def __init__(
        self,
        code: int,
        told: int,
        codes: int,
        bins: int,
        d_latent: int,
        *,
        width: int = 192,
        layers: int = 2,
        noise: int = 8,
        components: int = 8,
        most: int = 3,
    ) -> None:
        super().__init__()
        self.codes, self.most, self.bins = codes, most, bins
        self.code = nn.Linear(code, width)
        self.no_code = nn.Parameter(torch.zeros(width))
        self.told = nn.Linear(told, width)
        self.neighbours = nn.Linear(8 * codes, width)
        self.own = nn.Linear(noise, width, bias=False)
        self.place = nn.Parameter(0.02 * torch.randn(bins, width))
        self.layers = nn.ModuleList(
            nn.Sequential(nn.LayerNorm(width), nn.Linear(width, width), nn.GELU())
            for _ in range(layers)
        )
        self.count = nn.Linear(width, codes * (most + 1))
        self.value = nn.Linear(width, 4 * codes)
        nn.init.zeros_(self.value.weight)
        nn.init.zeros_(self.value.bias)
        self.log_pace = nn.Parameter(torch.zeros(codes))
        self.noise_prior = NoisePrior(width, noise, components)
        self.posterior = nn.Sequential(
            nn.Linear(d_latent + width, 96), nn.GELU(), nn.Linear(96, 2 * noise)
        )
        nn.init.zeros_(self.posterior[-1].weight)
        nn.init.zeros_(self.posterior[-1].bias)
        self.register_buffer("excess", torch.zeros(codes))
        self.register_buffer("valued", torch.ones(codes))

    @torch.no_grad()
    def fit(self, events: list[BinEvents]) -> None:
        """Set how many events beyond `most` there are, how many have a value, and the first biases.

        Args:
            events: of training records, in pieces.
        """
        total = torch.zeros(self.codes, self.most + 1, dtype=torch.float64)
        over, number, valued = torch.zeros(3, self.codes, dtype=torch.float64)
        for piece in events:
            count = piece.count.flatten(0, 1).cpu()
            for k in range(self.most):
                total[:, k] += (count == k).sum(0)
            many = count >= self.most
            total[:, -1] += many.sum(0)
            over += ((count - self.most) * many).double().sum(0)
            number += count.double().sum(0)
            valued += piece.values.double().sum((0, 1)).cpu()
        self.excess.copy_(over / total[:, -1].clamp_min(1))
        self.valued.copy_(valued / number.clamp_min(1))
        share = (total + 0.5) / (total + 0.5).sum(1, keepdim=True)
        self.count.bias.copy_(share.log().flatten())

    def read(
        self, code: Tensor | None, told: Tensor, neighbours: Neighbours, place: Tensor
    ) -> Tensor:
        """What is known of bins, `[..., width]`; leading axes broadcast.

        Args:
            code: `[..., code]`; None asks for single values given what is shown.
            told: `[..., told]`.
            neighbours: `[..., code]` each.
            place: `[...]` int64, numbers of the bins.
        """
        hidden = self.neighbours(neighbours.features(self.bins)) + self.place[place]
        hidden = hidden + self.told(told)
        return functional.gelu(hidden + (self.no_code if code is None else self.code(code)))

    def noise_posterior(self, known: Tensor, latent: Tensor) -> SetPosterior:
        """Laws of the bins' own noise, `[..., noise]`, of what is known `[..., width]` and of the
        latents `[..., d_latent]` of all events of the bins; 0 for none."""
        parameters = self.posterior(torch.cat([latent, known], -1))
        mean, log_variance = parameters.chunk(2, -1)
        return SetPosterior(mean, log_variance.clamp(*LOG_VARIANCE))

    def forward(self, known: Tensor, neighbours: Neighbours, own: Tensor | None = None) -> BinLaw:
        """The law of bins.

        Args:
            known: `[..., width]`, see `read`.
            neighbours: `[..., code]` each.
            own: `[..., noise]`; None for single values.
        """
        hidden = known if own is None else known + self.own(own)
        for layer in self.layers:
            hidden = hidden + layer(hidden)
        counts = self.count(hidden).unflatten(-1, (self.codes, self.most + 1))
        moved, spread, gate, same = self.value(hidden).chunk(4, -1)
        mean = self._carried(neighbours, gate) + moved
        return BinLaw(counts, mean, LOW_SD + (HIGH_SD - LOW_SD) * torch.sigmoid(spread), same)

    def made(
        self,
        code: Tensor,
        told: Tensor,
        neighbours: Neighbours,
        place: int,
        generator: torch.Generator | None = None,
    ) -> BinLaw:
        """The law of a bin that is being made, whose own noise is drawn; arguments as of `read`."""
        known = self.read(code, told, neighbours, torch.tensor(place, device=code.device))
        return self(known, neighbours, self.noise_prior(known).sample(generator))

    def _carried(self, neighbours: Neighbours, gate: Tensor) -> Tensor:
        """As an Ornstein-Uhlenbeck process about the record's level, with a pace for each code:
        near the values beside it, at the level far away."""
        pace = self.log_pace.exp() / MEMORY
        # Not infinite, whose gradient would be NaN.
        past, future = (
            torch.exp(-age.clamp_max(FAR) * pace) for age in (neighbours.past, neighbours.future)
        )
        beside = past * neighbours.before + future * neighbours.after
        beside = beside / (past + future).clamp_min(1e-6)
        share = torch.sigmoid(gate + 2) * (1 - (1 - past) * (1 - future))
        return torch.lerp(neighbours.level, beside, share)

    def draw_counts(self, law: BinLaw, generator: torch.Generator | None = None) -> Tensor:
        """Counts `[..., code]` int64."""
        share = law.counts.softmax(-1).cumsum(-1)
        chance = torch.empty_like(law.mean).uniform_(generator=generator)
        count = (chance[..., None] > share[..., :-1]).sum(-1)
        more = torch.poisson(self.excess.expand_as(law.mean), generator=generator).long()
        return count + torch.where(count == self.most, more, 0)

    def expected_counts(self, law: BinLaw) -> Tensor:
        """Mean counts `[..., code]`."""
        share = law.counts.softmax(-1)
        number = torch.arange(self.most + 1, device=share.device, dtype=share.dtype)
        return share @ number + share[..., -1] * self.excess


def count_loss(law: BinLaw, events: BinEvents) -> Tensor:
    """Negative log likelihood of counts, `[..., code]`."""
    most = law.counts.shape[-1] - 1
    target = events.count.long().clamp_max(most)
    return -law.counts.log_softmax(-1).gather(-1, target[..., None])[..., 0]


def value_loss(law: BinLaw, events: BinEvents) -> Tensor:
    """Negative log likelihood of the scores of all values, up to a constant, `[..., code]`.

    Sums are enough for a Gaussian.
    """
    n = events.values
    square = events.square - 2 * law.mean * events.total + n * law.mean * law.mean
    return n * law.sd.log() + square.clamp_min(0) / (2 * law.sd * law.sd)


class Repeats(NamedTuple):
    """Which bins' values are the last one before them, again.

    Attributes:
        asked: `[record, bin, code]` bool: there are a value and an earlier one.
        same: `[record, bin, code]` bool: all values of the bin are the last one.
    """

    asked: Tensor
    same: Tensor


def repeats(events: BinEvents) -> Repeats:
    """Which values are repeated, from bin to bin: many are charted unchanged."""
    has = events.values > 0
    carried, age = carry_forward(events.mean, has)
    last = torch.cat([torch.zeros_like(carried[:, :1]), carried[:, :-1]], 1)
    before = torch.cat([torch.zeros_like(has[:, :1]), age[:, :-1].isfinite()], 1)
    spread = events.square / events.values.clamp_min(1) - events.mean.square()
    same = ((events.mean - last).abs() < 1e-4) & (spread < 1e-5)
    return Repeats(has & before, has & before & same)
