"""Files of a processed series, for docs/artifacts.md."""

from __future__ import annotations

from weir.artifacts.description import Field, File
from weir.tasks.forecast.data.load import SERIES, TIME
from weir.tasks.forecast.data.schema import TRUTH

FILES = (
    File(
        SERIES,
        "one row a time step, raw scale",
        (
            Field(TIME, "timestamp", "rising, equally spaced"),
            Field("*", "float64", "the variables of `columns`, in order"),
        ),
    ),
    File(TRUTH, "the law of a simulated series; absent otherwise"),
)
