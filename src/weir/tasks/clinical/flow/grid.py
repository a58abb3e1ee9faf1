"""Records on a regular grid of bins: sets that fall into one bin become one set."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor

from weir.tasks.clinical.data.records import Records

if TYPE_CHECKING:
    from weir.tasks.clinical.settings.flow import Bins


@dataclass(frozen=True)
class Grid:
    """Equal bins of time since a record's origin.

    Attributes:
        bins: number of bins.
        hours: where the last one ends; what comes later is outside, but for its very end.
    """

    bins: int
    hours: float

    @property
    def width(self) -> float:
        """Hours of a bin."""
        return self.hours / self.bins

    def bin(self, time: Tensor) -> Tensor:
        """Bin of times in hours (any shape) int64; `bins` for those after the grid."""
        place = (time / self.width).long()
        # A record's last hour belongs to it: rounding must not push it out.
        last = time <= self.hours * (1 + 1e-5)
        return torch.where(last, place.clamp(0, self.bins - 1), self.bins)

    def inside(self, end: Tensor) -> Tensor:
        """Bins that begin before `end` (`[record]` hours), `[record, bin]` bool; the first always.

        What begins later is after the prediction: nothing can be in it.
        """
        start = torch.arange(self.bins, device=end.device) * self.width
        return (start < end[:, None]) | (start == 0)


def grid_of(settings: Bins, horizon: float) -> Grid:
    """The grid of a node's settings, by default as long as the training records."""
    return Grid(settings.bins, float(settings.hours or horizon or 1.0))


class Binned(NamedTuple):
    """Records with one set for each bin that holds events.

    Attributes:
        records: their sets are bins that hold something, at the middle of the bin.
        place: `[set]` int64: number of the record times `bins`, plus its bin.
    """

    records: Records
    place: Tensor

    def dense(self, values: Tensor, grid: Grid) -> Tensor:
        """Values of sets, `[set, ...]`, as `[record, bin, ...]`, zero in bins without events."""
        rows = len(self.records.outcome)
        full = values.new_zeros(rows * grid.bins, *values.shape[1:])
        return full.index_copy(0, self.place, values).unflatten(0, (rows, grid.bins))

    def occupied(self, grid: Grid) -> Tensor:
        """Which bins hold events, `[record, bin]` bool."""
        return self.dense(torch.ones_like(self.place, dtype=torch.bool), grid)


def merge(records: Records, grid: Grid) -> Binned:
    """Merge the sets of each bin into one, in the order of their events; later sets are left out.

    Events of a bin may name a code several times: sets are multisets.
    """
    place = grid.bin(records.time)
    kept = place < grid.bins
    events = slice(None)
    owner = records.set_record * grid.bins + place
    event_owner = owner[records.event_set]
    if not bool(kept.all()):
        events = kept[records.event_set]
        owner, event_owner = owner[kept], event_owner[events]
    # Ascending already: sets stand in the order of record and time.
    found, number = event_owner.unique_consecutive(return_inverse=True)
    merged = records._replace(
        code=records.code[events],
        value=records.value[events],
        measured=records.measured[events],
        event_set=number,
        time=((found % grid.bins).float() + 0.5) * grid.width,
        set_record=found // grid.bins,
    )
    return Binned(merged, found)


class BinEvents(NamedTuple):
    """What is in each bin of each record, code by code, as sums.

    Attributes:
        count: `[record, bin, code]` events, without unknown codes.
        values: `[record, bin, code]` how many have a value.
        total: `[record, bin, code]` sum of these values.
        square: `[record, bin, code]` sum of their squares.
    """

    count: Tensor
    values: Tensor
    total: Tensor
    square: Tensor

    @property
    def mean(self) -> Tensor:
        """`[record, bin, code]` mean of the values, 0 where there is none."""
        return self.total / self.values.clamp_min(1)


def tally(binned: Binned, grid: Grid, codes: int, value: Tensor | None = None) -> BinEvents:
    """Sums of the events of every bin.

    Args:
        binned: merged records.
        grid: on which they were merged.
        codes: number of known codes.
        value: `[event]` what to sum in place of `records.value`.
    """
    records = binned.records
    known = records.code > 0
    cell = binned.place[records.event_set[known]] * codes + records.code[known] - 1
    measured = records.measured[known].to(records.value.dtype)
    x = (records.value if value is None else value)[known] * measured
    rows = len(records.outcome)
    full = torch.zeros(4, rows * grid.bins * codes, device=x.device, dtype=x.dtype)
    full.index_add_(1, cell, torch.stack([torch.ones_like(x), measured, x, x * x]))
    return BinEvents(*full.reshape(4, rows, grid.bins, codes))


def carry_forward(value: Tensor, has: Tensor) -> tuple[Tensor, Tensor]:
    """The latest value up to each bin, this one included, and how many bins ago it was.

    Args:
        value: `[record, bin, code]`.
        has: `[record, bin, code]` bool.

    Returns:
        Both `[record, bin, code]`; where there is none, 0 and infinity.
    """
    place = torch.arange(value.shape[1], device=value.device)[None, :, None]
    latest = torch.where(has, place, -1).cummax(1).values
    some = latest >= 0
    carried = value.gather(1, latest.clamp_min(0))
    age = (place - latest).to(value.dtype)
    return torch.where(some, carried, 0.0), torch.where(some, age, torch.inf)


def show(records: Records, grid: Grid, hidden: Tensor) -> Records:
    """Records without the events of hidden cells, and without those after the grid.

    Sets that lose all of theirs are gone; a record may lose all sets.

    Args:
        records: a batch.
        grid: of the bins.
        hidden: `[record, bin, code]` bool, unknown codes' column first.
    """
    place = grid.bin(records.time)
    event_place = place[records.event_set]
    record = records.set_record[records.event_set]
    inside = event_place < grid.bins
    kept = inside & ~hidden[record, event_place.clamp_max(grid.bins - 1), records.code]
    left = torch.zeros_like(place, dtype=torch.bool)
    left[records.event_set[kept]] = True
    return records._replace(
        code=records.code[kept],
        value=records.value[kept],
        measured=records.measured[kept],
        event_set=(left.cumsum(0) - 1)[records.event_set[kept]],
        time=records.time[left],
        set_record=records.set_record[left],
    )
