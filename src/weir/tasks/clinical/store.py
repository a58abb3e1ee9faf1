"""The events of all subjects, packed: one array of codes, one of values, and where sets begin."""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path

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
        sd: `[code + 1]` float32, likewise.
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
