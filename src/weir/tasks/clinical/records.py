"""Records that stay resident on a device, and packed batches of them, without padding."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields, replace
from typing import NamedTuple

import torch
from torch import Tensor

from weir.tasks.clinical.store import EventStore

CHUNK_RECORDS, CHUNK_EVENTS = 512, 1 << 19
"""Records, and events, of one piece of a pass over a whole set; one record is never cut."""


class Records(NamedTuple):
    """A batch of records, packed: events follow one another by set, sets by record.

    Attributes:
        code: `[event]` int64; 0 for an unknown code, 1 for the first of `schema.codes`.
        value: `[event]` float32, standardised by the code's training mean and standard deviation;
            0 where there is none and for unknown codes.
        measured: `[event]` bool: has a value (never for unknown codes).
        event_set: `[event]` int64: its set's number in the batch, ascending.
        time: `[set]` float32, hours since the record's origin, its first event.
        set_record: `[set]` int64: its record's number in the batch, ascending.
        static: `[record, static]` float32.
        end: `[record]` float32, hours from the origin to the prediction.
        outcome: `[record]` float32, 0 or 1.
    """

    code: Tensor
    value: Tensor
    measured: Tensor
    event_set: Tensor
    time: Tensor
    set_record: Tensor
    static: Tensor
    end: Tensor
    outcome: Tensor


@dataclass(frozen=True)
class RecordTable:
    """What is known of each record beside its events, on one device.

    Attributes:
        first_set: `[record]` int64, number in the store.
        last_set: `[record]` int64, exclusive; equal to `first_set` without timed events.
        origin: `[record]` float64, minutes since the subject's first event.
        prediction: `[record]` float64, likewise.
        outcome: `[record]` float32.
        static: `[record, static]` float32.
        groups: `[record, subgrouping]` int64, 0 for unknown.
    """

    first_set: Tensor
    last_set: Tensor
    origin: Tensor
    prediction: Tensor
    outcome: Tensor
    static: Tensor
    groups: Tensor

    def to(self, device: torch.device | str) -> RecordTable:
        """The same records on `device`."""
        return RecordTable(*(getattr(self, column.name).to(device) for column in fields(self)))


@dataclass(frozen=True)
class RecordSet:
    """Some records of a table; items are numbered within the set.

    Attributes:
        store: all events.
        table: all records.
        rows: `[n]` int64, the records' rows in the table, on its device.
        subgroups: names of the groups of each subgrouping, the first stands for unknown.
    """

    store: EventStore
    table: RecordTable
    rows: Tensor
    subgroups: dict[str, tuple[str, ...]]

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def outcome(self) -> Tensor:
        """`[n]` float32, 0 or 1."""
        return self.table.outcome[self.rows]

    @property
    def end(self) -> Tensor:
        """`[n]` float32, hours from the origin to the prediction."""
        return self._end(self.rows)

    @property
    def static(self) -> Tensor:
        """`[n, static]` float32."""
        return self.table.static[self.rows]

    @property
    def sets(self) -> Tensor:
        """`[n]` int64, number of sets."""
        return self.table.last_set[self.rows] - self.table.first_set[self.rows]

    @property
    def events(self) -> Tensor:
        """`[n]` int64, number of timed events."""
        start = self.store.set_first
        return start[self.table.last_set[self.rows]] - start[self.table.first_set[self.rows]]

    def subgroup(self, name: str) -> tuple[Tensor, tuple[str, ...]]:
        """Group of each record in a subgrouping, `[n]` int64, and the groups' names by number."""
        column = list(self.subgroups).index(name)
        return self.table.groups[self.rows, column], self.subgroups[name]

    def batch(self, items: Tensor) -> Records:
        """The records numbered `items` (`[record]` int64, any device), gathered in a few calls."""
        store, table = self.store, self.table
        rows = self.rows[items.to(self.rows.device)]
        device = rows.device
        # `index_select` and `_owner` are several times faster than indexing and repeating.
        first = table.first_set.index_select(0, rows)
        last = table.last_set.index_select(0, rows)
        count, start = last - first, store.set_first.index_select(0, first)
        stop = store.set_first.index_select(0, last)
        sets, events = torch.stack([count.sum(), (stop - start).sum()]).tolist()
        before = count.cumsum(0) - count
        set_record = _owner(before, sets)
        place = torch.arange(sets, device=device) + (first - before).index_select(0, set_record)
        start = store.set_first.index_select(0, place)
        size = store.set_first.index_select(0, place + 1) - start
        before = size.cumsum(0) - size
        event_set = _owner(before, events)
        event = torch.arange(events, device=device)
        event += (start - before).index_select(0, event_set)
        code = store.code(event)
        value = store.values.index_select(0, event)
        value -= store.mean.index_select(0, code)
        value /= store.sd.index_select(0, code)
        # NaN is how the store says "no value", also of unknown codes, whose mean is NaN; `measured`
        # keeps that. Only these become 0: an infinite value would be an error, and stays one.
        missing = value.isnan()
        origin = table.origin.index_select(0, rows).index_select(0, set_record)
        time = (store.set_time.index_select(0, place) - origin) / 60
        return Records(
            code=code,
            value=value.masked_fill_(missing, 0.0),
            measured=~missing,
            event_set=event_set,
            time=time.float(),
            set_record=set_record,
            static=table.static.index_select(0, rows),
            end=self._end(rows),
            outcome=table.outcome.index_select(0, rows),
        )

    def all(self) -> Iterator[tuple[Tensor, Records]]:
        """Every record once, in order and in pieces: the items `[piece]` and their records."""
        items = torch.arange(len(self), device=self.rows.device)
        piece = self.events.cumsum(0) // CHUNK_EVENTS * len(self) + items // CHUNK_RECORDS
        sizes = piece.unique_consecutive(return_counts=True)[1].tolist()
        for chosen in items.split(sizes) if sizes else ():
            yield chosen, self.batch(chosen)

    def subset(self, chosen: Tensor) -> RecordSet:
        """The records chosen by a mask `[n]` or by items (int64), in the order of these."""
        return replace(self, rows=self.rows[chosen.to(self.rows.device)])

    def to(self, device: torch.device | str) -> RecordSet:
        """The same records on `device`; the whole store moves along."""
        return replace(
            self,
            store=self.store.to(device),
            table=self.table.to(device),
            rows=self.rows.to(device),
        )

    def _end(self, rows: Tensor) -> Tensor:
        return ((self.table.prediction[rows] - self.table.origin[rows]) / 60).float()


def _owner(first: Tensor, total: int) -> Tensor:
    """Which owner has each of `total` places, `[total]` int64, ascending.

    Args:
        first: `[owner]` int64, ascending: the place where an owner's begin; the same as the next
            one's for an owner of none.
    """
    begins = torch.zeros(total + 1, dtype=torch.int64, device=first.device)
    begins.index_add_(0, first, torch.ones_like(first))
    return begins[:total].cumsum(0) - 1
