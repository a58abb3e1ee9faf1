"""Events of some subjects, packed: in order of time, in sets, and cut to what records may see."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from weir.tasks.clinical.preprocessing.labels import Labels
from weir.tasks.clinical.preprocessing.meds import Events
from weir.tasks.clinical.settings.dataset import ClinicalDataset

MINUTE, HOUR = 60e6, 3600e6
"""Microseconds."""


class Packed(NamedTuple):
    """Events that some record sees, in order of subject (as given) and time.

    Attributes:
        subject: `[event]` int64, number of its subject.
        code: `[event]` int32.
        value: `[event]` float32.
        set_size: `[set]` int64, events of each set.
        set_time: `[set]` float64: minutes since the subject's first event here, of the set's
            latest event, when all of it is known.
        record: `[n]` int64, numbers of the records with events.
        first_set: `[n]` int64, number in this piece.
        last_set: `[n]` int64, exclusive.
        origin: `[n]` float64: minutes to the record's first event.
        prediction: `[n]` float64: minutes to its prediction.
        unsorted: events that stood before an earlier one.
        truncated: records whose earlier sets were cut off.
    """

    subject: np.ndarray
    code: np.ndarray
    value: np.ndarray
    set_size: np.ndarray
    set_time: np.ndarray
    record: np.ndarray
    first_set: np.ndarray
    last_set: np.ndarray
    origin: np.ndarray
    prediction: np.ndarray
    unsorted: int
    truncated: int


def visible(events: Events, labels: Labels, config: ClinicalDataset) -> Events:
    """Timed events no later than their subject's last prediction, nor before every lookback."""
    first, last = labels.start[:-1], labels.start[1:] - 1
    keep = events.time <= labels.prediction[last][events.subject]
    if config.lookback_hours is not None:
        earliest = labels.prediction[first] - int(config.lookback_hours * HOUR)
        keep &= events.time >= earliest[events.subject]
    return events if keep.all() else Events(*(column[keep] for column in events))


def pack(events: Events, labels: Labels, config: ClinicalDataset) -> Packed:
    """Pack timed events of whole subjects, each of whose events lie together.

    A record sees the events up to and including its prediction time. Bins (`set_minutes`) are cut
    at predictions and where a lookback begins, so that no set is half known to a record. Sets that
    no record sees are left out.
    """
    subject, time = events.subject, events.time
    count = len(subject)
    new_subject = np.r_[True, subject[1:] != subject[:-1]]
    falling = (time[1:] < time[:-1]) & ~new_subject[1:]
    if unsorted := int(falling.sum()):
        order = np.lexsort((time, new_subject.cumsum()))
        events = Events(*(column[order] for column in events))
        time = events.time
    run_first = np.flatnonzero(new_subject)
    run_subject = subject[run_first]
    run_end = np.r_[run_first[1:], count]

    # Records of these subjects, and the events that each may see.
    per_run = labels.start[run_subject + 1] - labels.start[run_subject]
    run = np.repeat(np.arange(len(run_first)), per_run)
    record = _ranges(labels.start[run_subject], per_run)
    prediction = labels.prediction[record]
    stop = _bisect(time, run_first[run], run_end[run], prediction + 1)
    start = run_first[run]
    if config.lookback_hours is not None:
        reach = prediction - int(config.lookback_hours * HOUR)
        start = _bisect(time, start, run_end[run], reach)
    some = start < stop
    record, run, prediction, start, stop = (x[some] for x in (record, run, prediction, start, stop))

    begins = np.zeros(count + 1, bool)
    begins[run_first] = True
    if config.set_minutes is None:
        begins[1:-1] |= time[1:] != time[:-1]
    else:
        length = np.diff(np.r_[run_first, count])
        since = time - np.repeat(time[run_first], length)
        place = since // int(config.set_minutes * MINUTE)
        begins[1:-1] |= place[1:] != place[:-1]
    begins[start] = begins[stop] = True
    set_first = np.flatnonzero(begins[:count])
    set_end = np.r_[set_first[1:], count]
    number = begins[:count].cumsum() - 1
    first_set, last_set = number[start], number[stop - 1] + 1
    truncated = 0
    if config.max_sets is not None:
        latest = last_set - config.max_sets
        truncated = int((latest > first_set).sum())
        first_set = np.maximum(first_set, latest)

    # Sets that some record sees.
    sets = len(set_first)
    open_records = np.bincount(first_set, minlength=sets + 1)
    open_records -= np.bincount(last_set, minlength=sets + 1)
    seen = open_records.cumsum()[:sets] > 0
    code, value, event_subject = events.code, events.value, subject
    if not seen.all():
        kept = np.repeat(seen, set_end - set_first)
        code, value, event_subject = code[kept], value[kept], subject[kept]
        renumbered = seen.cumsum() - 1
        first_set, last_set = renumbered[first_set], renumbered[last_set - 1] + 1
        set_first, set_end = set_first[seen], set_end[seen]
    # Of each set, its subject's first event that is kept.
    set_run = np.searchsorted(run_first, set_first, side="right") - 1
    first_of_run = np.r_[True, set_run[1:] != set_run[:-1]] if len(set_run) else np.zeros(0, bool)
    base = np.zeros(len(run_first), "int64")
    base[set_run[first_of_run]] = time[set_first[first_of_run]]
    return Packed(
        subject=event_subject,
        code=code,
        value=value,
        set_size=set_end - set_first,
        set_time=(time[set_end - 1] - base[set_run]) / MINUTE,
        record=record,
        first_set=first_set,
        last_set=last_set,
        origin=(time[set_first[first_set]] - base[run]) / MINUTE,
        prediction=(prediction - base[run]) / MINUTE,
        unsorted=unsorted,
        truncated=truncated,
    )


def _ranges(start: np.ndarray, length: np.ndarray) -> np.ndarray:
    """`start[i], start[i] + 1, ...` of `length[i]` numbers each, one after the other."""
    before = length.cumsum() - length
    return np.arange(int(length.sum())) + np.repeat(start - before, length)


def _bisect(
    values: np.ndarray, start: np.ndarray, stop: np.ndarray, wanted: np.ndarray
) -> np.ndarray:
    """First place of each stretch `[start, stop)`, ascending, whose value is `wanted` or more."""
    low, high = start.copy(), stop.copy()
    while (open_ := low < high).any():
        middle = (low + high) // 2
        less = np.zeros(len(low), bool)
        less[open_] = values[middle[open_]] < wanted[open_]
        low = np.where(open_ & less, middle + 1, low)
        high = np.where(open_ & ~less, middle, high)
    return low
