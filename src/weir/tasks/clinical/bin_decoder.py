"""What happens in a bin: how often each code, and with what values, given latent and context."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from weir.tasks.clinical.bin_context import Context
from weir.tasks.clinical.grid import BinEvents, carry_forward

NEAR = 0.1
"""Difference of scores from which on a value counts as another one."""

LOW_SD, HIGH_SD = 0.03, 2.0
"""Limits of the deviation of a value's normal score."""


class BinLaw(NamedTuple):
    """Law of the events of bins.

    Attributes:
        counts: `[..., code, most + 1]` logits of 0, 1, ..., `most` or more events.
        mean: `[..., code]` of the normal score of a value of a code that occurs.
        sd: `[..., code]`, likewise.
        same: `[..., code]` logit that a value is the last one again, for one that lies near.
    """

    counts: Tensor
    mean: Tensor
    sd: Tensor
    same: Tensor

    @property
    def present(self) -> Tensor:
        """Probability that a code occurs, `[..., code]`."""
        return 1 - self.counts.softmax(-1)[..., 0]


class ValueLaw(NamedTuple):
    """Law of values given the context alone, of codes that the latent does not hold.

    Attributes:
        mean: `[record, bin, code]` of the normal score.
        sd: likewise.
    """

    mean: Tensor
    sd: Tensor


class BinDecoder(nn.Module):
    """Decoder of the events of whole bins.

    The decoder of the first stage is of single sets and has a Poisson law of counts, which is too
    wide for what is measured once in every bin: here counts are categorical, up to `most`. And a
    code's value in a bin is known from its latent only if that code is in it; for the others there
    is the law of values given the context, see `RecordFlow.fill`.

    Args:
        d_latent: of the first stage.
        codes: number of known codes.
        context: width of the context's tokens.
        width: hidden width.
        most: count from which on counts are one class.
    """

    excess: Tensor
    valued: Tensor

    def __init__(
        self, d_latent: int, codes: int, context: int, *, width: int, most: int = 3
    ) -> None:
        super().__init__()
        self.codes, self.most = codes, most
        self.body = nn.Sequential(
            nn.Linear(d_latent + context, width), nn.GELU(), nn.Linear(width, width), nn.GELU()
        )
        self.count = nn.Linear(width, codes * (most + 1))
        self.value = nn.Linear(width, 2 * codes)
        self.same = nn.Linear(width, codes)
        self.fade = nn.Parameter(torch.zeros(codes))
        self.context_value = nn.Linear(context, 3 * codes)
        self.log_pace = nn.Parameter(torch.zeros(codes))
        for layer in (self.value, self.context_value, self.same):
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)
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
            count = piece.count[piece.count.sum(-1) > 0].cpu()
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

    def forward(self, latent: Tensor, token: Tensor) -> BinLaw:
        """The law of bins.

        Args:
            latent: `[..., d_latent]` standardised.
            token: `[..., context]`, broadcastable to the latent's axes.
        """
        token = token.expand(*latent.shape[:-1], token.shape[-1])
        hidden = self.body(torch.cat([latent, token], -1))
        counts = self.count(hidden).unflatten(-1, (self.codes, self.most + 1))
        mean, spread = self.value(hidden).chunk(2, -1)
        return BinLaw(counts, mean, _sd(spread), self.same(hidden))

    def from_context(self, context: Context) -> ValueLaw:
        """The law of values given what is shown: near those next to it, at the level far away.

        The mean begins as that of an Ornstein-Uhlenbeck process about the record's level, with a
        pace for each code; the token moves it from there.
        """
        moved, spread, gate = self.context_value(context.token).chunk(3, -1)
        carried, pace = context.carried, self.log_pace.exp()
        # Powers of exp(-age): another pace of fading. Zero to any power stays zero.
        past, future = carried.fresh**pace, carried.near**pace
        weight = past + future
        beside = (past * carried.before + future * carried.after) / weight.clamp_min(1e-6)
        bound = 1 - (1 - past) * (1 - future)
        share = torch.sigmoid(gate + 2) * bound
        return ValueLaw(torch.lerp(carried.level, beside, share) + moved, _sd(spread))

    def repeats(self, law: BinLaw, last: Tensor) -> Tensor:
        """Logit `[..., code]` that a bin's values are `last` again, the last score before it.

        Many values are charted unchanged. The further the law's mean is from the last value, the
        less likely that is.
        """
        apart = (law.mean.detach() - last).abs()
        return law.same - functional.softplus(self.fade) * (apart / NEAR).log1p()

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


def _sd(spread: Tensor) -> Tensor:
    return LOW_SD + (HIGH_SD - LOW_SD) * torch.sigmoid(spread)


def count_loss(law: BinLaw, events: BinEvents) -> Tensor:
    """Negative log likelihood of counts, `[record, bin, code]`; leading axes as the law's."""
    most = law.counts.shape[-1] - 1
    target = events.count.long().clamp_max(most)
    log_share = law.counts.log_softmax(-1)
    return -log_share.gather(-1, target[..., None])[..., 0]


def value_loss(mean: Tensor, sd: Tensor, events: BinEvents) -> Tensor:
    """Negative log likelihood of the scores of all values, up to a constant, `[record, bin, code]`.

    Sums are enough for a Gaussian.
    """
    n = events.values
    square = events.square - 2 * mean * events.total + n * mean * mean
    return n * sd.log() + square.clamp_min(0) / (2 * sd * sd)


class Repeats(NamedTuple):
    """Which bins' values are the last ones before them, again.

    Attributes:
        last: `[record, bin, code]` mean score of the latest earlier bin with a value; 0 for none.
        asked: `[record, bin, code]` bool: there are a value and an earlier one.
        same: `[record, bin, code]` bool: all values of the bin are `last`.
    """

    last: Tensor
    asked: Tensor
    same: Tensor


def repeats(events: BinEvents) -> Repeats:
    """Which values are repeated, from bin to bin."""
    has = events.values > 0
    carried, age = carry_forward(events.mean, has)
    last = torch.cat([torch.zeros_like(carried[:, :1]), carried[:, :-1]], 1)
    before = torch.cat([torch.zeros_like(has[:, :1]), age[:, :-1].isfinite()], 1)
    spread = events.square / events.values.clamp_min(1) - events.mean.square()
    same = ((events.mean - last).abs() < 1e-4) & (spread < 1e-5)
    return Repeats(last, has & before, has & before & same)
