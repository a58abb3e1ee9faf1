"""Files of processed records, for docs/artifacts.md."""

from __future__ import annotations

from weir.artifacts.description import Array, Field, File
from weir.tasks.clinical.data.load import COLUMNS, RECORDS, STATIC
from weir.tasks.clinical.data.records import CODES, SET_FIRST, SET_TIME, VALUES
from weir.tasks.clinical.data.schema import LAW

_MEANINGS = {
    "subject_id": "as in the raw data",
    "prediction_time": "microseconds since 1970",
    "part": "0 train, 1 validation, 2 test",
    "first_set": "the record's first set",
    "last_set": "one past its last",
    "origin": "minutes since the subject's first stored event",
    "prediction": "the same, of the prediction",
    "outcome": "0 or 1",
}


def _array(name: str, dtype: str, axes: tuple[str, ...], meaning: str) -> File:
    return File.of(Array(name.removesuffix(".npy"), dtype, axes, meaning))


FILES = (
    File(
        RECORDS,
        "one row a record",
        (
            *(Field(name, f"`{kind}`", _MEANINGS[name]) for name, kind in COLUMNS.items()),
            Field("subgroup/*", "int64", "number of the record's group, by name"),
        ),
    ),
    _array(STATIC, "float32", ("record", "static"), "static features, standardised"),
    File(CODES, "each event's code, 0 for unknown", format="uint16 or uint32 `[event]`"),
    _array(VALUES, "float32", ("event",), "its value, clinical units, NaN for none"),
    _array(SET_FIRST, "int64", ("set + 1",), "the first event of each set"),
    _array(SET_TIME, "float64", ("set",), "minutes since the subject's first event"),
    *(File(name, "the law of simulated records; absent otherwise") for name in LAW),
)
