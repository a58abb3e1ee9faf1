"""Events written to disk as they come, and once more when codes and limits are known."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from weir.artifacts.growing_array import GrowingArray
from weir.tasks.clinical.data.records import CODES, SET_FIRST, SET_TIME, VALUES
from weir.tasks.clinical.preprocessing.packing import Packed

PIECE = 1 << 20
"""Events of a piece of a pass over what was written."""

TRAIN_BIT = 1 << 31
"""Marks events of training subjects in the provisional codes."""


class Piece(NamedTuple):
    """Some events, in the order in which they were written.

    Attributes:
        code: `[event]` int64, provisional.
        train: `[event]` bool.
        value: `[event]` float32.
    """

    code: np.ndarray
    train: np.ndarray
    value: np.ndarray


class Spill:
    """Packed events on their way: raw arrays in a folder, appended to and then read in pieces."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.events = self.sets = 0
        self._streams = {name: (folder / name).open("wb") for name in ("code", "value")}
        self._streams |= {name: (folder / name).open("wb") for name in ("size", "time")}

    def append(self, packed: Packed, train: np.ndarray) -> None:
        """Write more events; `train` (`[event]` bool) marks those of training subjects."""
        code = packed.code.astype("uint32") | np.where(train, np.uint32(TRAIN_BIT), np.uint32(0))
        for name, values, kind in (
            ("code", code, "uint32"),
            ("value", packed.value, "float32"),
            ("size", packed.set_size, "uint32"),
            ("time", packed.set_time, "float64"),
        ):
            self._streams[name].write(np.ascontiguousarray(values, kind).data)
        self.events += len(code)
        self.sets += len(packed.set_size)

    def close(self) -> None:
        """No more is written."""
        for stream in self._streams.values():
            stream.close()

    def pieces(self) -> Iterator[Piece]:
        """All events, `PIECE` at a time: pieces depend on nothing but what was written."""
        with (self.folder / "code").open("rb") as codes, (self.folder / "value").open("rb") as vs:
            while len(code := np.fromfile(codes, "uint32", PIECE)):
                train = code >= TRAIN_BIT
                value = np.fromfile(vs, "float32", PIECE)
                yield Piece((code & np.uint32(TRAIN_BIT - 1)).astype("int64"), train, value)

    def save_sets(self, output: Path) -> None:
        """Write the arrays of the sets."""
        with (
            (self.folder / "size").open("rb") as sizes,
            GrowingArray(output / SET_FIRST, "int64") as first,
        ):
            before = 0
            first.append(np.zeros(1, "int64"))
            while len(size := np.fromfile(sizes, "uint32", PIECE)):
                ends = size.cumsum(dtype="int64") + before
                first.append(ends)
                before = int(ends[-1])
        with (
            (self.folder / "time").open("rb") as times,
            GrowingArray(output / SET_TIME, "float64") as out,
        ):
            while len(time := np.fromfile(times, "float64", PIECE)):
                out.append(time)


def event_files(output: Path, codes: int) -> tuple[GrowingArray, GrowingArray]:
    """Files for the final codes (numbers up to `codes`) and values."""
    kind = "uint16" if codes < 1 << 16 else "uint32"
    return GrowingArray(output / CODES, kind), GrowingArray(output / VALUES, "float32")


assert sys.byteorder == "little"
