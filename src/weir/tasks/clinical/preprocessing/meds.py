"""Shards of the Medical Event Data Standard (MEDS), read in pieces of whole subjects.

The schemas are those of the `meds` package. Types that hold the same are cast: other widths of
numbers, large or dictionary-encoded strings, other units of time. Times with a zone are not MEDS,
but say which instant is meant: they are taken in UTC, provided that all tables have one.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from meds import DataSchema, data_subdirectory

from weir.errors import UserError

ROWS = 1 << 20
"""Rows that are read at a time."""

STATIC = np.iinfo(np.int64).min
"""Stands for no time, in a static event."""


class Events(NamedTuple):
    """Events of whole subjects, whose events lie together.

    Attributes:
        subject: `[event]` int64, number among the wanted subjects.
        time: `[event]` int64, microseconds since 1970 in UTC, or `STATIC`.
        code: `[event]` int32, number among the names met so far.
        value: `[event]` float32, NaN where there is none.
    """

    subject: np.ndarray
    time: np.ndarray
    code: np.ndarray
    value: np.ndarray


@dataclass
class Names:
    """Codes in the order in which they were met."""

    number: dict[str, int] = field(default_factory=dict)

    def of(self, names: Sequence[str]) -> np.ndarray:
        """Their numbers, `[name]` int32; new names get the next."""
        number = self.number
        return np.array([number.setdefault(name, len(number)) for name in names], "int32")

    @property
    def names(self) -> list[str]:
        """The name of each number."""
        return list(self.number)


@dataclass
class Zones:
    """Whether times have a zone: in all tables or in none."""

    zoned: list[str] = field(default_factory=list)
    plain: list[str] = field(default_factory=list)

    def add(self, name: str, kind: pa.DataType) -> None:
        """Take note of the type of a column of times.

        Raises:
            UserError: others have a zone and this has none, or the other way round.
        """
        (self.plain if kind.tz is None else self.zoned).append(name)
        if self.zoned and self.plain:
            raise UserError(
                f"{self.zoned[0]} has times with a zone and {self.plain[0]} has times without, so "
                "that they cannot be compared; write both in UTC without a zone, as MEDS does"
            )


def check_column(file: str, schema: pa.Schema, name: str, kinds: str) -> pa.DataType:
    """Type of a column that must be there and hold `kinds`: numbers, whole, text, time or truth.

    Raises:
        UserError: it is missing or of another kind.
    """
    if schema.get_field_index(name) < 0:
        there = ", ".join(schema.names) or "none"
        raise UserError(
            f"{file}: column {name!r} is missing, of those that MEDS asks for; there are {there}"
        )
    kind = schema.field(name).type
    inner = kind.value_type if pa.types.is_dictionary(kind) else kind
    fits = {
        "whole": pa.types.is_integer,
        "numbers": lambda t: pa.types.is_floating(t) or pa.types.is_integer(t),
        "text": lambda t: (
            pa.types.is_string(t) or pa.types.is_large_string(t) or pa.types.is_string_view(t)
        ),
        "time": pa.types.is_timestamp,
        "truth": pa.types.is_boolean,
    }[kinds]
    if not fits(inner) or (inner is not kind and kinds != "text"):
        raise UserError(
            f"{file}: column {name!r} is {kind}, but MEDS asks for {WANTED[kinds]}; convert it"
        )
    return kind


WANTED = {
    "whole": "int64",
    "numbers": "float32",
    "text": "string",
    "time": "timestamp[us]",
    "truth": "bool",
}


def microseconds(column: pa.Array | pa.ChunkedArray) -> np.ndarray:
    """Times as int64 microseconds since 1970, UTC; `STATIC` where there is none."""
    zone = column.type.tz
    whole = column.cast(pa.timestamp("us", zone), safe=False).cast(pa.int64())
    return whole.fill_null(STATIC).to_numpy(zero_copy_only=False)


def open_parquet(root: Path, name: str, dictionary: Sequence[str] = ()) -> pq.ParquetFile:
    """A Parquet file below `root`.

    Raises:
        UserError: it is none.
    """
    try:
        return pq.ParquetFile(root / name, read_dictionary=list(dictionary))
    except (OSError, pa.ArrowException) as error:
        text = str(error).splitlines()[0]
        raise UserError(f"{root / name} cannot be read as Parquet ({text}); fix it") from None


def read_columns(file: str, parquet: pq.ParquetFile, columns: Sequence[str]) -> pa.Table:
    """Columns of an open Parquet file, at once.

    Raises:
        UserError: its pages are damaged.
    """
    try:
        return parquet.read(columns=list(columns))
    except (OSError, pa.ArrowException) as error:
        raise _damaged(file, error) from None


def _damaged(file: str, error: Exception) -> UserError:
    return UserError(f"{file} is damaged ({str(error).splitlines()[0]}); get it again")


def shards_among(names: Sequence[str]) -> list[str]:
    """The files with events among those of a MEDS folder, in order."""
    folder = f"{data_subdirectory}/"
    return sorted(n for n in names if n.startswith(folder) and n.endswith(".parquet"))


@dataclass
class MedsReader:
    """Events of some subjects in the shards of a MEDS folder.

    Attributes:
        root: the folder.
        shards: paths below it.
        subjects: `[subject]` int64, the wanted ones, ascending.
        names: codes met so far.
        zones: of all tables.
        seen: `[subject]` int: which shard, counted from 1, had the subject; 0 for none so far.
        others: subjects met that are not wanted.
    """

    root: Path
    shards: Sequence[str]
    subjects: np.ndarray
    names: Names
    zones: Zones
    seen: np.ndarray = field(init=False)
    others: set[int] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.seen = np.zeros(len(self.subjects), "int32")

    def pieces(self) -> Iterator[Events]:
        """All events of the wanted subjects, in the order of the shards.

        Raises:
            UserError: a shard is not of MEDS's schema, or a subject's events lie apart.
        """
        for number, name in enumerate(self.shards, 1):
            held: list[tuple[np.ndarray, ...]] = []
            for batch in self._batches(name):
                subject = batch[0]
                if not len(subject):
                    continue
                # The last subject may go on in the next batch.
                cut = len(subject) - int((subject[::-1] != subject[-1]).argmax())
                if cut == len(subject) and (subject == subject[-1]).all():
                    if held and held[-1][0][-1] != subject[-1]:
                        yield from self._piece(name, number, held)
                        held = []
                    held.append(batch)
                    continue
                held.append(tuple(column[:cut] for column in batch))
                yield from self._piece(name, number, held)
                held = [tuple(column[cut:] for column in batch)]
            yield from self._piece(name, number, held)

    def _piece(
        self, name: str, number: int, held: list[tuple[np.ndarray, ...]]
    ) -> Iterator[Events]:
        if not held:
            return
        joined = held[0] if len(held) == 1 else tuple(map(np.concatenate, zip(*held, strict=True)))
        subject, time, code, value = joined
        first = np.flatnonzero(np.r_[True, subject[1:] != subject[:-1]])
        length = np.diff(np.r_[first, len(subject)])
        ids = subject[first]
        place = np.searchsorted(self.subjects, ids)
        place[place == len(self.subjects)] = 0
        wanted = self.subjects[place] == ids if len(self.subjects) else np.zeros(len(ids), bool)
        self.others.update(ids[~wanted].tolist())
        place = place[wanted]
        again = self.seen[place] > 0
        repeated = np.bincount(place, minlength=1)[place] > 1 if len(place) else again
        if (again | repeated).any():
            at = int((again | repeated).argmax())
            earlier = self.shards[max(self.seen[place[at]], 1) - 1] if again[at] else name
            raise UserError(
                f"{self.root / name}: events of subject {ids[wanted][at]} do not lie together "
                f"(others are elsewhere in {earlier}); MEDS keeps a subject in one place of one "
                "file: sort the file by subject_id"
            )
        self.seen[place] = number
        if wanted.all():
            yield Events(np.repeat(place, length), time, code, value)
        elif wanted.any():
            keep = np.repeat(wanted, length)
            yield Events(np.repeat(place, length[wanted]), time[keep], code[keep], value[keep])

    def _batches(self, name: str) -> Iterator[tuple[np.ndarray, ...]]:
        """Subject, time, code's number and value of the rows of a shard."""
        file = str(self.root / name)
        parquet = open_parquet(self.root, name, ["code"])
        schema = parquet.schema_arrow
        kinds = {"subject_id": "whole", "time": "time", "code": "text"}
        assert set(kinds) <= set(DataSchema.schema().names)
        found = {column: check_column(file, schema, column, kind) for column, kind in kinds.items()}
        self.zones.add(file, found["time"])
        columns = list(kinds)
        if schema.get_field_index("numeric_value") >= 0:
            check_column(file, schema, "numeric_value", "numbers")
            columns.append("numeric_value")
        try:
            for batch in parquet.iter_batches(ROWS, columns=columns):
                yield self._columns(file, batch)
        except (OSError, pa.ArrowException) as error:
            raise _damaged(file, error) from None

    def _columns(self, file: str, batch: pa.RecordBatch) -> tuple[np.ndarray, ...]:
        subject, code = batch.column("subject_id"), batch.column("code")
        if not pa.types.is_dictionary(code.type):
            code = pc.dictionary_encode(code)
        for column, name in ((subject, "subject_id"), (code, "code")):
            missing = column.null_count
            if name == "code":
                missing += code.dictionary.null_count
            if missing:
                raise UserError(f"{file}: column {name!r} has {missing} nulls; fix or drop them")
        number = self.names.of(code.dictionary.to_pylist())
        if "numeric_value" in batch.schema.names:
            column = batch.column("numeric_value").cast(pa.float32(), safe=False)
            value = column.to_numpy(zero_copy_only=False)
        else:
            value = np.full(len(subject), np.nan, "float32")
        return (
            subject.cast(pa.int64()).to_numpy(zero_copy_only=False),
            microseconds(batch.column("time")),
            number[code.indices.to_numpy(zero_copy_only=False)],
            value,
        )
