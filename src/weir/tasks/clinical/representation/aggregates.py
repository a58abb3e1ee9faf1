"""Aggregates of a record's values by code: counts, extremes, trends, on a common scale.

The aggregates that strong tables consist of, computed from a packed batch in a few calls. A network
reads them as normal scores by the quantiles of the training records.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from weir.tasks.clinical.representation.ragged import segment_sum

if TYPE_CHECKING:
    from weir.tasks.clinical.data.records import Records, RecordSet

AGGREGATES = ("count", "min", "max", "mean", "last", "first", "slope", "sd")
"""Of each code; all but the count are of values, in standard deviations (slope: per hour)."""

FLAGS = ("last", "slope")
"""Aggregates of which a network is told whether there is one."""

FITTED_ON = 20_000
"""Records that quantiles are taken from, evenly spaced; all if there are fewer."""

LIMIT = 3.0
"""Normal scores lie within plus and minus this."""


def aggregates(records: Records, codes: int) -> Tensor:
    """`[record, code, aggregate]` in the order of `AGGREGATES`.

    All but the count are NaN where a record has no value of the code, the slope also unless there
    are values at two times, `sd` (population) unless there are two values. Of two events of one
    set the one stored first is the first.

    Args:
        records: a batch.
        codes: number of codes, with the unknown one (number 0).
    """
    owners = len(records.outcome)
    groups = owners * codes
    record = records.set_record.index_select(0, records.event_set)
    group = record * codes + records.code
    count = segment_sum(torch.ones_like(records.value), group, groups)
    has = records.measured
    group, value = group[has], records.value[has]
    hours = records.time.index_select(0, records.event_set[has])
    number = segment_sum(torch.ones_like(value), group, groups)
    none = torch.full_like(number, float("nan"))

    def extreme(values: Tensor, how: str) -> Tensor:
        room = torch.zeros(groups, dtype=values.dtype, device=values.device)
        return room.scatter_reduce(0, group, values, how, include_self=False)

    def mean(values: Tensor) -> Tensor:
        return segment_sum(values, group, groups) / number.clamp(min=1)

    middle, centre = mean(value), mean(hours)
    dx, dt = value - middle.index_select(0, group), hours - centre.index_select(0, group)
    spread = mean(dt.square())
    place = torch.arange(len(value), device=value.device)
    padded = torch.cat([value, value.new_zeros(1)])  # so that there is one to look up
    found = {
        "min": extreme(value, "amin"),
        "max": extreme(value, "amax"),
        "mean": middle,
        "last": padded.index_select(0, extreme(place, "amax")),
        "first": padded.index_select(0, extreme(place, "amin")),
        "slope": mean(dx * dt) / spread,
        "sd": mean(dx.square()).sqrt(),
    }
    known = dict.fromkeys(found, number > 0) | {"slope": spread > 1e-6, "sd": number > 1}
    columns = [count, *(torch.where(known[name], found[name], none) for name in found)]
    return torch.stack(columns, -1).unflatten(0, (owners, codes))


class Summary(nn.Module):
    """Aggregates as normal scores, and which of them there are.

    Args:
        codes: number of codes, with the unknown one.
        quantiles: quantiles of the training records that a scale is made of.
    """

    quantiles: Tensor

    def __init__(self, codes: int, quantiles: int = 100) -> None:
        super().__init__()
        self.codes = codes
        self.register_buffer("quantiles", torch.zeros(codes * len(AGGREGATES), quantiles))

    @property
    def features(self) -> int:
        """Width of the output."""
        return self.codes * (len(AGGREGATES) + len(FLAGS))

    @torch.no_grad()
    def forward(self, records: Records) -> Tensor:
        """`[record, features]`: scores, 0 where there is no value; whether each code has a value,
        and whether it has values at several times."""
        found = aggregates(records, self.codes)
        known = ~found[..., [AGGREGATES.index(name) for name in FLAGS]].isnan()
        # Missing aggregates become 0, the middle. The first flag tells them from values in the
        # middle, the second a slope; a deviation is missing with fewer than two values, which the
        # count tells (of codes whose events all have values).
        score = self._score(found.flatten(1)).nan_to_num(0.0)
        return torch.cat([score, known.flatten(1).to(score)], 1)

    @torch.no_grad()
    def fit(self, data: RecordSet) -> None:
        """Take the quantiles of the training records."""
        data = data.subset(torch.arange(0, len(data), -(-len(data) // FITTED_ON)))
        table = torch.cat([aggregates(r, self.codes).flatten(1) for _, r in data.all()])
        ordered = table.sort(0).values.T  # NaN last
        last = ((~ordered.isnan()).sum(1, keepdim=True) - 1).clamp(min=0)
        count = self.quantiles.shape[1]
        share = torch.arange(count, device=table.device).double() / (count - 1)
        place = share * last
        low = place.floor().long()
        high = torch.minimum(low + 1, last)
        part = (place - low).to(table)
        found = torch.lerp(ordered.gather(1, low), ordered.gather(1, high), part)
        # NaN are the quantiles of what no training record has: any scale will do.
        self.quantiles.copy_(found.nan_to_num(0.0))

    def _score(self, values: Tensor) -> Tensor:
        """Normal scores of values `[record, aggregate]`; NaN stays NaN.

        A value that several quantiles equal, such as the commonest count, is put amid them.
        """
        knots, x = self.quantiles.to(values), values.T.contiguous()
        # A number to search for in place of NaN, which is put back below.
        end, known = knots.shape[1] - 1, x.nan_to_num(0.0)
        left = torch.searchsorted(knots, known, right=False)
        right = torch.searchsorted(knots, known, right=True)
        low = (left - 1).clamp(0, end)
        below, above = knots.gather(1, low), knots.gather(1, left.clamp(0, end))
        between = low + ((known - below) / (above - below).clamp(min=1e-12)).clamp(0, 1)
        place = torch.where(right > left, (left + right - 1) / 2, between)
        score = torch.special.ndtri((place / end).clamp(1e-6, 1 - 1e-6)).clamp(-LIMIT, LIMIT)
        return torch.where(x.isnan(), x, score).T
