"""Events of a MEDS folder, read once: packed to the sets that records see, and put on disk."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from meds import birth_code, data_subdirectory

from weir.errors import Repairable
from weir.tasks.clinical.preprocessing.event_files import Spill
from weir.tasks.clinical.preprocessing.labels import Labels
from weir.tasks.clinical.preprocessing.meds import Events, MedsReader
from weir.tasks.clinical.preprocessing.packing import pack, visible
from weir.tasks.clinical.preprocessing.statics import Statics
from weir.tasks.clinical.preprocessing.vocabulary import Tally
from weir.tasks.clinical.settings.dataset import ClinicalDataset


@dataclass
class Found:
    """Where the events of each record lie in the store, and what was changed.

    Attributes:
        first_set: `[record]` int64.
        last_set: `[record]` int64, exclusive.
        origin: `[record]` float64, minutes since the subject's first stored event.
        prediction: `[record]` float64, minutes since the same event.
        unsorted: events that stood before an earlier one.
        truncated: records that were cut.
        infinite: values taken as missing.
    """

    first_set: np.ndarray
    last_set: np.ndarray
    origin: np.ndarray
    prediction: np.ndarray
    unsorted: int = 0
    truncated: int = 0
    infinite: int = 0


def stream(
    config: ClinicalDataset,
    reader: MedsReader,
    labels: Labels,
    spill: Spill,
    tally: Tally,
    statics: Statics,
) -> Found:
    """Go through all shards once.

    Args:
        config: what a record sees, and whether values may be infinite.
        reader: of the shards.
        labels: all records.
        spill: takes the packed events, and is closed.
        tally: takes the counts of training records.
        statics: takes what has no time.

    Raises:
        UserError: a shard is not MEDS, or an infinite value is refused.
    """
    count = len(labels.prediction)
    found = Found(*(np.zeros(count, kind) for kind in ("int64", "int64", "float64", "float64")))
    for events in reader.pieces():
        timed = statics.take(events, reader.names.number.get(birth_code))
        timed = visible(timed, labels, config)
        timed = _finite(timed, found, config, reader)
        if not len(timed.subject):
            continue
        packed = pack(timed, labels, config)
        found.first_set[packed.record] = packed.first_set + spill.sets
        found.last_set[packed.record] = packed.last_set + spill.sets
        found.origin[packed.record] = packed.origin
        found.prediction[packed.record] = packed.prediction
        found.unsorted += packed.unsorted
        found.truncated += packed.truncated
        if len(packed.code):
            tally.add(packed, labels, len(reader.names.number))
            spill.append(packed, labels.part[packed.subject] == 0)
    spill.close()
    _finite_statics(statics, found, config, reader)
    return found


def _finite(events: Events, found: Found, config: ClinicalDataset, reader: MedsReader) -> Events:
    """The same with infinite values missing, if that is allowed."""
    bad = np.isinf(events.value)
    if not bad.any():
        return events
    _refuse_infinite(events.subject, events.code, bad, config, reader)
    found.infinite += int(bad.sum())
    return events._replace(value=np.where(bad, np.float32(np.nan), events.value))


def _finite_statics(
    statics: Statics, found: Found, config: ClinicalDataset, reader: MedsReader
) -> None:
    for i, (subject, code, value) in enumerate(statics.pieces):
        bad = np.isinf(value)
        if bad.any():
            _refuse_infinite(subject, code, bad, config, reader)
            found.infinite += int(bad.sum())
            statics.pieces[i] = subject, code, np.where(bad, np.float32(np.nan), value)


def _refuse_infinite(
    subject: np.ndarray,
    code: np.ndarray,
    bad: np.ndarray,
    config: ClinicalDataset,
    reader: MedsReader,
) -> None:
    if config.infinite == "error":
        at = int(bad.argmax())
        raise Repairable(
            f"{reader.root / data_subdirectory}: a value of {reader.names.names[code[at]]!r} of "
            f"subject {reader.subjects[subject[at]]} is infinite",
            "fix it or set `infinite: missing` in the dataset node",
            "infinite",
            "missing",
        )
