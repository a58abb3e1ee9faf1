"""Vocabulary of codes that are modelled, with limits and scales, from training records only."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from weir.errors import UserError
from weir.tasks.clinical.data.schema import Code
from weir.tasks.clinical.preprocessing.event_files import Spill, event_files
from weir.tasks.clinical.preprocessing.labels import Labels
from weir.tasks.clinical.preprocessing.packing import Packed

QUANTILES = (0.01, 0.99)
"""Ends of a code's usual range of values."""

SAMPLE = 10_000
"""Values of a code that the range is taken from, about; all where there are fewer."""

SEEN = 1 << 26
"""Subjects times codes up to which who has what fits a mask."""


@dataclass
class Tally:
    """Counts over training records, by provisional code.

    Attributes:
        events: with or without a value.
        values: events with a value.
        records: records that have the code.
    """

    events: np.ndarray = field(default_factory=lambda: np.zeros(0, "int64"))
    values: np.ndarray = field(default_factory=lambda: np.zeros(0, "int64"))
    records: np.ndarray = field(default_factory=lambda: np.zeros(0, "int64"))

    def add(self, packed: Packed, labels: Labels, codes: int) -> None:
        """Count some more events; `codes` is the number of provisional codes so far."""
        for name in ("events", "values", "records"):
            counts = getattr(self, name)
            setattr(self, name, np.r_[counts, np.zeros(codes - len(counts), "int64")])
        train = labels.part[packed.subject] == 0
        if not train.any():
            return
        code = packed.code[train]
        self.events += np.bincount(code, minlength=codes)
        self.values += np.bincount(code[~np.isnan(packed.value[train])], minlength=codes)
        self.records += records_with(packed, train, labels, codes)


def records_with(packed: Packed, train: np.ndarray, labels: Labels, codes: int) -> np.ndarray:
    """Training records that have each code, `[code]` int64.

    Args:
        packed: events; every set is seen by a record.
        train: `[event]` bool, which are of training subjects.
        labels: all records.
        codes: number of provisional codes.
    """
    subject, code = packed.subject[train], packed.code[train].astype("int64")
    run = np.r_[0, (subject[1:] != subject[:-1]).cumsum()]
    runs = int(run[-1]) + 1
    record = packed.record[labels.part[labels.subject[packed.record]] == 0]
    if len(record) == runs:  # One record a subject: it sees all that is kept.
        pair = run * codes + code
        if runs * codes <= SEEN:
            mask = np.zeros(runs * codes, bool)
            mask[pair] = True
            return mask.reshape(runs, codes).sum(0)
        return np.bincount(np.unique(pair) % codes, minlength=codes)
    return _overlapping(packed, train, labels, run * codes + code, codes)


def _overlapping(
    packed: Packed, train: np.ndarray, labels: Labels, pair: np.ndarray, codes: int
) -> np.ndarray:
    """The same where records of a subject share events.

    Both ends of the records' stretches of events ascend. A record is counted at the first event of
    a code that it sees: it begins after the code's event before and at or before this one, and
    ends after this one.
    """
    start = np.r_[0, packed.set_size.cumsum()]
    mine = labels.part[labels.subject[packed.record]] == 0
    begin, end = start[packed.first_set[mine]], start[packed.last_set[mine]]
    event = np.flatnonzero(train)
    order = np.argsort(pair, kind="stable")
    pair, event = pair[order], event[order]
    before = np.r_[-1, np.where(pair[1:] == pair[:-1], event[:-1], -1)]
    begun = np.searchsorted(begin, event, side="right")
    over = np.maximum(
        np.searchsorted(begin, before, side="right"), np.searchsorted(end, event, side="right")
    )
    counts = np.bincount(pair % codes, weights=np.maximum(begun - over, 0), minlength=codes)
    return counts.round().astype("int64")


@dataclass(frozen=True)
class Vocabulary:
    """The codes that are modelled.

    Attributes:
        codes: in order of name.
        unknown: names of codes seen in too few training records, and not seen there at all.
        unknown_events: stored events with such codes.
        clipped: values that were drawn in.
    """

    codes: tuple[Code, ...]
    unknown: int
    unknown_events: int
    clipped: int


def write_events(
    spill: Spill,
    tally: Tally,
    names: list[str],
    descriptions: dict[str, str],
    min_records: int,
    clip: float | None,
    output: Path,
) -> Vocabulary:
    """Choose codes, draw values in, and write the final arrays of codes and values.

    Two passes over the events: the first samples training values for the limits of each code, the
    second writes and takes means and deviations of the training values as they are written.

    Raises:
        UserError: no code is in enough training records.
    """
    chosen = sorted(
        (i for i in range(len(tally.records)) if tally.records[i] >= min_records),
        key=lambda i: names[i],
    )
    if not chosen:
        most = int(tally.records.max(initial=0))
        raise UserError(
            f"no code is in {min_records} training records or more, but in {most} at most; lower "
            "`min_records`, or look whether `outcome` is predicted before there are events"
        )
    number = np.zeros(len(names), "int64")
    number[chosen] = np.arange(1, len(chosen) + 1)
    low, high, centre = _limits(spill, tally, number, len(chosen), clip)
    total, square, count = (np.zeros(len(chosen) + 1) for _ in range(3))
    clipped = unknown = 0
    seen = np.zeros(len(number), bool)
    codes_out, values_out = event_files(output, len(chosen))
    with codes_out, values_out:
        for provisional, train, value in spill.pieces():
            code = number[provisional]
            seen[provisional] = True
            unknown += int((code == 0).sum())
            drawn = value
            if clip is not None:
                drawn = np.clip(value, low[code], high[code])
                clipped += int(((drawn != value) & ~np.isnan(value)).sum())
            codes_out.append(code)
            values_out.append(drawn)
            use = train & ~np.isnan(drawn)
            code, off = code[use], drawn[use] - centre[code[use]]
            total += np.bincount(code, off, len(total))
            square += np.bincount(code, off * off, len(total))
            count += np.bincount(code, minlength=len(total))
    mean = total / np.maximum(count, 1)
    variance = np.maximum(square / np.maximum(count, 1) - mean**2, 0)
    # Of equal values, rounding alone is left.
    constant = variance <= 1e-12 * (mean + centre) ** 2
    sd = np.where(constant, 1.0, np.sqrt(np.where(constant, 1.0, variance)))
    mean += centre
    codes = tuple(
        Code(
            name=names[old],
            description=descriptions.get(names[old], ""),
            mean=float(mean[i]),
            sd=float(sd[i]),
            values=int(tally.values[old]),
            records=int(tally.records[old]),
            low=finite(low[i]),
            high=finite(high[i]),
        )
        for i, old in enumerate(chosen, 1)
    )
    return Vocabulary(codes, int((seen & (number == 0)).sum()), unknown, clipped)


def write_known_events(
    spill: Spill, names: list[str], codes: tuple[Code, ...], output: Path
) -> int:
    """Write the final arrays with codes and limits that are known; returns the unknown events.

    Args:
        spill: all events.
        names: of the provisional codes.
        codes: of the data that a model was trained on.
        output: folder of the arrays.
    """
    place = {code.name: i for i, code in enumerate(codes, 1)}
    number = np.array([place.get(name, 0) for name in names], "int64")
    low, high = (
        np.array([end, *(end if x is None else x for x in limits)], "float32")
        for end, limits in (
            (-np.inf, [code.low for code in codes]),
            (np.inf, [code.high for code in codes]),
        )
    )
    unknown = 0
    codes_out, values_out = event_files(output, len(codes))
    with codes_out, values_out:
        for provisional, _, value in spill.pieces():
            code = number[provisional]
            unknown += int((code == 0).sum())
            codes_out.append(code)
            values_out.append(np.clip(value, low[code], high[code]))
    return unknown


def usual_range(values: np.ndarray, clip: float) -> tuple[float, float]:
    """Limits of a code's values: their range of percentiles, widened on both sides.

    Without limits where that range is empty, as of a code most of whose values are equal.
    """
    low, high = np.quantile(values, QUANTILES)
    if not low < high:
        return -np.inf, np.inf
    width = clip * (high - low)
    return float(low - width), float(high + width)


def _limits(
    spill: Spill, tally: Tally, number: np.ndarray, codes: int, clip: float | None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Least and greatest value (float32), and the median (float64) of each code, `[code + 1]`."""
    low = np.full(codes + 1, -np.inf, "float32")
    high, centre = -low, np.zeros(codes + 1)
    share = np.zeros(codes + 1)
    old = np.flatnonzero(number)
    share[number[old]] = SAMPLE / np.maximum(tally.values[old], SAMPLE)
    random = np.random.default_rng(0)
    found_codes, found_values = [np.zeros(0, "int64")], [np.zeros(0, "float32")]
    for provisional, train, value in spill.pieces():
        code = number[provisional]
        use = (random.random(len(code)) < share[code]) & train & ~np.isnan(value)
        found_codes.append(code[use])
        found_values.append(value[use])
    code, value = np.concatenate(found_codes), np.concatenate(found_values)
    if not len(code):
        return low, high, centre
    order = np.argsort(code, kind="stable")
    present, first = np.unique(code[order], return_index=True)
    for i, values in zip(present, np.split(value[order], first[1:]), strict=True):
        centre[i] = np.median(values)
        if clip is not None:
            low[i], high[i] = usual_range(values, clip)
    return low, high, centre


def finite(value: float) -> float | None:
    """A limit, None if it is infinite."""
    return float(value) if np.isfinite(value) else None
