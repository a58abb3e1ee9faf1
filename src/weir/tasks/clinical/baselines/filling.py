"""Baselines that fill in what is hidden: the last value carried forward, and means by the hour."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from weir.tasks.clinical.baselines.constants import Fitted
from weir.tasks.clinical.flow.filling import Imputation
from weir.tasks.clinical.flow.grid import Grid, carry_forward, merge, tally
from weir.tasks.clinical.flow.items import by_code

if TYPE_CHECKING:
    from weir.tasks.clinical.data.load import ClinicalData
    from weir.tasks.clinical.data.records import Records
    from weir.tasks.clinical.flow.grid import BinEvents

MOST_AGE = 8
"""Bins after which errors of a carried value are told apart no more."""

LEARNT = 8192
"""Training records, about, that more than means and deviations is learnt from."""

PRIOR = 10.0
"""Values that a mean by bin weighs the code's overall mean with, which is 0."""


class FillBaseline(Fitted):
    """A law of a code's mean value in a bin, and how often it occurs there in training.

    Args:
        codes: number of known codes.
        bins: of the grid.
        hours: of the grid; None for as many as the longest training record has, set by `fit`.
    """

    def __init__(self, codes: int, bins: int, hours: float | None = None) -> None:
        super().__init__()
        self.codes, self.bins = codes, bins
        self.store(
            hours=torch.tensor(hours or 0.0, dtype=torch.float64),
            rate=torch.zeros(bins, codes),
            centre=torch.zeros(bins, codes),
            sd=torch.ones(bins, codes),
        )

    @property
    def grid(self) -> Grid:
        """On which it fills in."""
        return Grid(self.bins, float(self.hours))

    def fit(self, data: ClinicalData, seed: int) -> None:
        """Rates, means and deviations by bin, then what the kind of baseline asks for."""
        if not float(self.hours):
            self.store(hours=torch.tensor(data.schema.horizon_hours or 1.0, dtype=torch.float64))
        train, grid = data.split("train"), self.grid
        inside, count, number, total, square = 0.0, 0.0, 0.0, 0.0, 0.0
        pieces = []
        for _, records in train.all():
            events = tally(merge(records, grid), grid, self.codes)
            inside = inside + grid.inside(records.end).double().sum(0)
            count = count + events.count.double().sum(0)
            has = events.values > 0
            number = number + has.double().sum(0)
            total = total + events.mean.double().sum(0)
            square = square + (events.mean.double().square() * has).sum(0)
            if sum(len(piece) for piece, _ in pieces) < LEARNT:
                pieces.append((events.mean.half(), has))
        # Standardised: the mean over all values is 0, their deviation 1.
        centre = total / (number + PRIOR)
        spread = (square - 2 * centre * total + number * centre.square() + PRIOR) / (number + PRIOR)
        self.store(
            rate=(count / inside.clamp_min(1)[:, None]).float(),
            centre=centre.float(),
            sd=spread.clamp_min(1e-4).sqrt().float(),
        )
        self.learn(pieces)

    def learn(self, pieces: list[tuple[Tensor, Tensor]]) -> None:
        """Fit what else there is.

        Args:
            pieces: of (the first) training records, mean values `[record, bin, code]` float16 and
                which there are, bool.
        """

    def law(
        self, events: BinEvents, shown: Tensor, samples: int, generator: torch.Generator | None
    ) -> tuple[Tensor, Tensor]:
        """Mean `[record, bin, code]` and draws `[record, sample, bin, code]` of values.

        Args:
            events: sums of the bins.
            shown: `[record, bin, code]` bool, which may be looked at.
            samples: draws.
            generator: of these.
        """
        raise NotImplementedError

    @torch.no_grad()
    def fill(
        self,
        records: Records,
        hidden: Tensor,
        samples: int,
        *,
        steps: int | None = None,
        solver: str | None = None,
        generator: torch.Generator | None = None,
    ) -> Imputation:
        """See `weir.tasks.clinical.flow.filling.Filler.fill`."""
        grid = self.grid
        inside = grid.inside(records.end)[..., None]
        hidden = by_code(hidden, self.codes + 1)[..., 1:] & inside
        events = tally(merge(records, grid), grid, self.codes)
        mean, draws = self.law(events, ~hidden, samples, generator)
        record, place = hidden.any(-1).nonzero(as_tuple=True)
        return Imputation(
            record,
            place,
            hidden[record, place],
            mean[record, place],
            draws[record, :, place],
            self.rate[place],
        )

    def risk(self, records: Records) -> Tensor:
        """It says nothing of the outcome.

        Raises:
            TypeError: always.
        """
        raise TypeError(f"{type(self).__name__} fills in and predicts no outcome")

    has_head = False


class MeanByHour(FillBaseline):
    """Each code's training mean and deviation in the bin: nothing of the record is looked at."""

    def law(
        self, events: BinEvents, shown: Tensor, samples: int, generator: torch.Generator | None
    ) -> tuple[Tensor, Tensor]:
        """See `FillBaseline.law`."""
        mean = self.centre.expand_as(events.count)
        return mean, normal(mean, self.sd.expand_as(mean), samples, generator)


class LastValue(FillBaseline):
    """The last shown value, carried forward; before the first one the training mean of the bin.

    Its error by code and age, in bins, on the training records gives the law.
    """

    def __init__(self, codes: int, bins: int, hours: float | None = None) -> None:
        super().__init__(codes, bins, hours)
        self.store(error=torch.ones(MOST_AGE, codes))

    def learn(self, pieces: list[tuple[Tensor, Tensor]]) -> None:
        """Root mean squared error of a value carried forward, by age and code."""
        number = torch.full((MOST_AGE, self.codes), PRIOR, dtype=torch.float64)
        square = number.clone()
        for value, has in pieces:
            full, number, square = value.double(), number.to(value.device), square.to(value.device)
            for age in range(1, min(MOST_AGE, self.bins - 1) + 1):
                both = has[:, age:] & has[:, :-age]
                off = (full[:, age:] - full[:, :-age]).square() * both
                number[age - 1] += both.sum((0, 1))
                square[age - 1] += off.sum((0, 1))
        self.store(error=(square / number).sqrt().float())

    def law(
        self, events: BinEvents, shown: Tensor, samples: int, generator: torch.Generator | None
    ) -> tuple[Tensor, Tensor]:
        """See `FillBaseline.law`."""
        has = (events.values > 0) & shown
        last, age = carry_forward(events.mean, has)
        some = age.isfinite()
        row = age.where(some, 1.0).long().clamp(1, MOST_AGE) - 1
        error = self.error.expand(len(last), -1, -1).gather(1, row)
        mean = torch.where(some, last, self.centre)
        return mean, normal(mean, torch.where(some, error, self.sd), samples, generator)


def normal(mean: Tensor, sd: Tensor, samples: int, generator: torch.Generator | None) -> Tensor:
    """Independent draws `[record, sample, ...]` of normal laws `[record, ...]`."""
    white = torch.empty(len(mean), samples, *mean.shape[1:], device=mean.device)
    return mean[:, None] + sd[:, None] * white.normal_(generator=generator)
