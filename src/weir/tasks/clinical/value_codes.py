"""Where events lie in a table of embeddings: rows for the code without a value, and for its knots.

A value lies between two knots, which are quantiles of the code's training values, and is the
mixture of their rows. So the code is never lost, whatever the value, and what the value does to it
need not be linear. A product of code and standardised value would be zero at the mean.

Reference: Gorishniy, Rubachev, Babenko, On Embeddings for Numerical Features in Tabular Deep
Learning, NeurIPS 2022: piecewise linear encoding.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from weir.tasks.clinical.records import Records, RecordSet

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
