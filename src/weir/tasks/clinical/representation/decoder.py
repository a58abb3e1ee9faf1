"""Decoder of a set's latent: how often each code occurs, and the law of its values.

Also the places of events in a table of embeddings, which has rows for each code without a value and
for its knots. A value lies between two knots, which are quantiles of the code's training values,
and is the mixture of their rows. So the code is never lost, whatever the value, and what the value
does to it need not be linear. A product of code and standardised value would be zero at the mean.

Reference: Gorishniy, Rubachev, Babenko, On Embeddings for Numerical Features in Tabular Deep
Learning, NeurIPS 2022: piecewise linear encoding.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor, nn

from weir.tasks.clinical.representation.ragged import segment_sum

if TYPE_CHECKING:
    from weir.tasks.clinical.data.records import Records, RecordSet
    from weir.tasks.clinical.data.schema import Schema


FITTED_ON = 4_000_000
"""Events that quantiles are taken from, of evenly spaced records; all if there are fewer."""

FAR = 1e3
"""Distance of knots that a code does not need, in standard deviations."""


class Located(NamedTuple):
    """Events as mixtures of two rows: `1 - fraction` of row `index`, `fraction` of the next.

    Attributes:
        index: `[event]` int64.
        fraction: `[event]`, from 0 to 1.
    """

    index: Tensor
    fraction: Tensor


class ValueCodes(nn.Module):
    """Knots of every code.

    Args:
        codes: number of codes, with the unknown one (number 0).
        knots: knots of a code.
    """

    knots: Tensor

    def __init__(self, codes: int, knots: int) -> None:
        super().__init__()
        self.codes, self.rows_per_code = codes, knots + 1
        self.register_buffer("knots", torch.linspace(-2, 2, knots).repeat(codes, 1))

    @property
    def rows(self) -> int:
        """Rows of a table."""
        return self.codes * self.rows_per_code

    def table(self, width: int) -> nn.Parameter:
        """A table `[row, width]` whose neighbouring knots begin alike."""
        walk = 0.075 * torch.randn(self.codes, self.rows_per_code, width)
        return nn.Parameter(
            (walk.cumsum(1) + 0.25 * torch.randn(self.codes, 1, width)).flatten(0, 1)
        )

    def forward(self, records: Records) -> Located:
        """Where the events of a batch lie."""
        knots = self.knots.index_select(0, records.code)
        value = records.value[:, None]
        place = ((value >= knots).sum(1, keepdim=True) - 1).clamp(0, knots.shape[1] - 2)
        low, high = knots.gather(1, place), knots.gather(1, place + 1)
        fraction = ((value - low) / (high - low)).clamp(0, 1)[:, 0]
        row = torch.where(records.measured, 1 + place[:, 0], 0)
        index = records.code * self.rows_per_code + row
        return Located(index, torch.where(records.measured, fraction, 0.0))

    @torch.no_grad()
    def fit(self, data: RecordSet) -> None:
        """Put the knots at quantiles of the training values, the ends at the 0.5th and 99.5th.

        Where values repeat, a code has fewer knots; the rest lie out of reach.
        """
        events = int(data.events.sum())
        data = data.subset(torch.arange(0, len(data), -(-max(events, 1) // FITTED_ON)))
        found = [(r.code[r.measured], r.value[r.measured]) for _, r in data.all()]
        code, value = (torch.cat(parts) for parts in zip(*found, strict=True))
        order = value.argsort(stable=True)
        order = order[code[order].argsort(stable=True)]
        values = value[order].split(torch.bincount(code, minlength=self.codes).tolist())
        count = self.knots.shape[1]
        share = torch.linspace(0.005, 0.995, count, device=value.device)
        for number, of_code in enumerate(values):
            if not len(of_code):
                continue
            knots = of_code[(share * (len(of_code) - 1)).round().long()].unique()
            beyond = FAR * torch.arange(1, count - len(knots) + 1, device=value.device)
            self.knots[number] = torch.cat([knots, knots[-1] + beyond])


def mixed(table: Tensor, located: Located) -> Tensor:
    """The rows of events, `[event, ...]`, of a table `[row, ...]`."""
    fraction = located.fraction.view(-1, *[1] * (table.ndim - 1))
    low = table.index_select(0, located.index)
    return torch.lerp(low, table.index_select(0, located.index + 1), fraction)


LOG_RATE, LOG_SD = (-14.0, 12.0), (-4.0, 3.0)
"""Ranges to which log rates and log standard deviations are clamped."""

HALF_LOG_TAU = 0.5 * math.log(2 * math.pi)


class SetLaw(NamedTuple):
    """Law of the events of a set: Poisson counts of each code, normal values.

    Column 0 is of unknown codes, which have no values; column n of code number n, which is
    `schema.codes[n - 1]`.

    Attributes:
        log_rate: `[set, code]`, of the number of events.
        mean: `[set, code]`, of values, standardised by training.
        log_sd: `[set, code]`, of values.
    """

    log_rate: Tensor
    mean: Tensor
    log_sd: Tensor

    def clinical(self, schema: Schema) -> SetLaw:
        """The same with values in clinical units."""
        mean = self.mean.new_tensor([0.0, *(code.mean for code in schema.codes)])
        sd = self.mean.new_tensor([1.0, *(code.sd for code in schema.codes)])
        return SetLaw(self.log_rate, self.mean * sd + mean, self.log_sd + sd.log())


class SetNLL(NamedTuple):
    """Negative log likelihood of sets in nats, `[set]` each.

    Attributes:
        counts: of which codes occur and how often.
        values: of the values, standardised by training.
    """

    counts: Tensor
    values: Tensor


class SetDecoder(nn.Module):
    """From latents to laws of sets.

    The standard deviation of each code's values is learned, not fixed: a fixed one is a hidden
    weight of the divergence, and the usual cause of a collapsed posterior.

    Args:
        d_latent: width of a latent.
        width: width of the hidden layer.
        codes: number of codes, with the unknown one.
    """

    def __init__(self, d_latent: int, width: int, codes: int) -> None:
        super().__init__()
        self.codes = codes
        self.hidden = nn.Sequential(nn.Linear(d_latent, width), nn.GELU())
        self.output = nn.Linear(width, 2 * codes)
        self.log_sd = nn.Parameter(torch.zeros(codes))
        nn.init.normal_(self.output.weight, std=0.1 / math.sqrt(width))
        nn.init.zeros_(self.output.bias)

    def forward(self, z: Tensor) -> SetLaw:
        """Laws of the sets of latents `[..., d_latent]`."""
        log_rate, mean = self.output(self.hidden(z)).chunk(2, -1)
        log_sd = self.log_sd.clamp(*LOG_SD)
        return SetLaw(log_rate.clamp(*LOG_RATE), mean, log_sd.expand_as(mean))

    @torch.no_grad()
    def start(self, counts: Tensor, sets: int) -> None:
        """Start at the rates of the training sets.

        Args:
            counts: `[code]`, events of each code.
            sets: number of sets.
        """
        # Half an event more for each code keeps the logarithm finite.
        rate = (counts.double() + 0.5) / max(sets, 1)
        self.output.bias[: self.codes].copy_(rate.log().clamp(*LOG_RATE))


def set_nll(law: SetLaw, records: Records) -> SetNLL:
    """Negative log likelihood of the sets of a batch.

    Args:
        law: of each set, or one for all of them (`[1, code]`).
        records: the events.
    """
    # In half precision the sums would lose what they are made of.
    law = SetLaw(*(part.to(records.value) for part in law))
    sets, codes = len(records.time), law.log_rate.shape[-1]
    row = records.event_set if len(law.mean) == sets else torch.zeros_like(records.event_set)
    cell = row * codes + records.code
    own = records.event_set * codes + records.code
    # The logarithm of k! is shared out among the k events of a code: far fewer than cells.
    ones = torch.ones_like(records.value)
    number = segment_sum(ones, own, sets * codes).index_select(0, own)
    said = law.log_rate.flatten().index_select(0, cell) - (number + 1).lgamma() / number
    counts = law.log_rate.exp().sum(-1) - segment_sum(said, records.event_set, sets)
    log_sd = law.log_sd.flatten().index_select(0, cell)
    error = (records.value - law.mean.flatten().index_select(0, cell)) * (-log_sd).exp()
    density = torch.where(records.measured, 0.5 * error.square() + log_sd + HALF_LOG_TAU, 0.0)
    return SetNLL(counts, segment_sum(density, records.event_set, sets))
