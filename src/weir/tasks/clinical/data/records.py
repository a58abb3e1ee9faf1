"""Records that stay resident on a device, and packed batches of them, without padding.

The events of all subjects are packed: one array of codes, one of values, and where sets begin.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

RESIDENT = 8 << 30
"""Bytes of events up to which they are read into memory; larger ones stay on disk, mapped."""

CODES, VALUES = "codes.npy", "values.npy"
"""Each event's code (uint16 or uint32, 0 for unknown) and value (float32, NaN for none)."""

SET_FIRST, SET_TIME = "set_first.npy", "set_time.npy"
"""Each set's first event (int64, and the number of events last), and its minute (float64)."""

ARRAYS = (CODES, VALUES, SET_FIRST, SET_TIME)


@dataclass(frozen=True)
class EventStore:
    """Events in order of subject, set and file, on one device.

    Torch has few operations for unsigned numbers, so codes are held as signed ones of the same
    width and read back through a mask.

    Attributes:
        codes: `[event]` int16 or int32: the bits of the unsigned codes.
        values: `[event]` float32, clinical units, NaN where there is none.
        set_first: `[set + 1]` int64: the first event of each set.
        set_time: `[set]` float64: minutes since the subject's first event.
        mean: `[code + 1]` float32, of the training values; row 0, of unknown codes, is NaN, so that
            their values count as missing.
        sd: `[code + 1]` float32, of the same values.
    """

    codes: Tensor
    values: Tensor
    set_first: Tensor
    set_time: Tensor
    mean: Tensor
    sd: Tensor

    def code(self, events: Tensor) -> Tensor:
        """`[n]` int64, codes of the events numbered `events` (`[n]` int64)."""
        codes = self.codes.index_select(0, events)
        return codes.long() & (0xFFFF if codes.dtype == torch.int16 else 0xFFFFFFFF)

    def to(self, device: torch.device | str) -> EventStore:
        """The same events on `device`."""
        return EventStore(*(getattr(self, column.name).to(device) for column in fields(self)))

    @classmethod
    def load(cls, folder: Path, mean: Tensor, sd: Tensor) -> EventStore:
        """Read the arrays of a folder, or map them where they are too large.

        Raises:
            OSError, ValueError: a file is missing or damaged.
        """
        files = [folder / name for name in ARRAYS]
        # "c": private pages, because torch warns of tensors over memory it may not write.
        large = sum(file.stat().st_size for file in files) > RESIDENT
        codes, values, first, time = (
            np.load(file, mmap_mode="c" if large else None) for file in files
        )
        if not len(codes) == len(values) == first[-1] or len(first) != len(time) + 1:
            raise ValueError(f"{SET_FIRST} does not fit {CODES}")
        signed = {"uint16": "int16", "uint32": "int32"}[codes.dtype.name]
        arrays = (codes.view(signed), values, first, time)
        return cls(*map(torch.from_numpy, arrays), mean, sd)


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
        prediction: `[record]` float64, minutes since the same event.
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
