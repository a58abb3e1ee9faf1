"""Settings of a multivariate series, a `datasets` node with `task: forecast`."""

from __future__ import annotations

import re
from typing import Annotated, Literal, Self
from zoneinfo import ZoneInfo

from pydantic import (
    Discriminator,
    Field,
    PositiveFloat,
    PositiveInt,
    Tag,
    field_validator,
    model_validator,
)

from weir.settings.base import Config
from weir.settings.source import Files, Simulated, source_kind
from weir.tasks.forecast.settings.simulator import Simulation

FREQUENCY = re.compile(r"^([1-9]\d*)?(ms|s|min|h|D|B|W(-[A-Z]{3})?|MS|ME|QS|QE|YS|YE)$")
"""Frequencies accepted, a subset of pandas' offset aliases."""


Source = Annotated[
    Annotated[Files, Tag("files")] | Annotated[Simulated[Simulation], Tag("simulator")],
    Discriminator(source_kind),
]


class Split(Config):
    """Consecutive training, validation and test rows."""

    rows: tuple[PositiveInt, PositiveInt, PositiveInt] | None = Field(
        None, description="Rows of training, validation and test; later rows are left out."
    )
    ratios: tuple[PositiveFloat, PositiveFloat, PositiveFloat] | None = Field(
        None, description="Shares of training, validation and test; they sum to 1."
    )

    @model_validator(mode="after")
    def _one_rule(self) -> Self:
        if (self.rows is None) == (self.ratios is None):
            raise ValueError("give either `rows` or `ratios`")
        if self.ratios is not None and abs(sum(self.ratios) - 1) > 1e-9:
            raise ValueError(f"ratios must sum to 1, not {sum(self.ratios):g}")
        return self

    def sizes(self, rows: int) -> tuple[int, int, int]:
        """Rows of each part; with ratios, training and test round down, validation is the rest."""
        if self.rows is not None:
            return self.rows
        assert self.ratios is not None
        train, test = (int(rows * ratio + 1e-9) for ratio in (self.ratios[0], self.ratios[2]))
        return train, rows - train - test, test


class ForecastDataset(Config):
    """A CSV or Parquet table with a time column and numeric columns, one per variable."""

    task: Literal["forecast"] = Field(description="The kind of data.")
    source: Source = Field(description="Where the raw table comes from.")
    time_column: str = Field("date", description="Column that holds the timestamps.")
    time_format: str | None = Field(
        None,
        description="strptime format of the timestamps, or `epoch s` / `epoch ms` for numbers; "
        "null for ISO 8601.",
    )
    timezone: str | None = Field(
        None,
        description="IANA zone of local timestamps without offset, so that daylight saving "
        "becomes regular UTC; null if they need no conversion.",
    )
    columns: list[str] | None = Field(
        None, min_length=1, description="Columns to forecast; null takes every numeric one."
    )
    frequency: str = Field(description="Spacing of the rows as a pandas offset: 10min, 1h, 1D, MS.")
    cycle: PositiveInt | None = Field(
        None, description="Rows of one cycle (24 for hourly data with a daily one); null for none."
    )
    sentinels: list[float] | None = Field(
        None,
        description="Numbers that stand for a missing value. null: none, and suspicious ones "
        "such as -9999 are an error; []: none, and nothing is suspicious.",
    )
    gaps: Literal["error", "interpolate", "hold"] = Field(
        "error",
        description="Missing rows and cells: refuse, interpolate linearly in time, or hold the "
        "last value (which never looks ahead).",
    )
    max_gap: PositiveInt = Field(6, description="Longest run of missing rows that is filled.")
    duplicates: Literal["error", "first", "mean"] = Field(
        "error", description="Rows with the same timestamp: refuse, keep the first, or average."
    )
    order: Literal["error", "sort"] = Field(
        "error", description="Rows that go back in time: refuse, or sort."
    )
    constant_columns: Literal["error", "drop"] = Field(
        "error", description="Columns constant over the training rows: refuse, or drop."
    )
    encoding: str = Field("utf-8", description="Text encoding of a CSV.")
    separator: str = Field(",", min_length=1, max_length=1, description="Cell separator of a CSV.")
    decimal: str = Field(".", min_length=1, max_length=1, description="Decimal mark of a CSV.")
    split: Split = Field(
        Split(ratios=(0.7, 0.1, 0.2)), description="Training, validation and test rows."
    )
    lookback: PositiveInt = Field(96, description="Rows of history a model sees.")
    horizon: PositiveInt = Field(96, description="Rows a model forecasts.")

    @field_validator("frequency")
    @classmethod
    def _known_frequency(cls, value: str) -> str:
        if not FREQUENCY.match(value):
            raise ValueError("is no frequency; write e.g. 10min, 1h, 1D, W-MON or MS")
        return value

    @field_validator("timezone")
    @classmethod
    def _known_zone(cls, value: str | None) -> str | None:
        if value is not None:
            try:
                ZoneInfo(value)
            except (KeyError, ValueError, OSError):
                raise ValueError("is no IANA time zone; write e.g. Europe/Berlin") from None
        return value

    @field_validator("encoding")
    @classmethod
    def _known_encoding(cls, value: str) -> str:
        try:
            "".encode(value)
        except LookupError:
            raise ValueError("is no known text encoding; write e.g. utf-8 or latin-1") from None
        return value

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.columns is not None:
            if len(set(self.columns)) < len(self.columns):
                raise ValueError("columns names a column twice")
            if self.time_column in self.columns:
                raise ValueError("columns must not name the time column")
        if isinstance(self.source, Files) and len(self.source.hashes) != 1:
            raise ValueError("source must name one file; join several into one table")
        return self
