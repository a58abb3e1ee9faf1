"""A table on its way from the raw file to a clean series."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd

from weir.tasks.forecast.schema import Repair


@dataclass
class Table:
    """Timestamps and columns of a raw file.

    Attributes:
        file: the raw file, for messages.
        times: `[row]` timestamps without zone; UTC where the file says how to convert.
        values: `[row, variable]` float64, missing cells NaN.
        lines: `[row]` line of the CSV or row of the Parquet file.
        repairs: what has been changed so far.
    """

    file: Path
    times: pd.DatetimeIndex
    values: pd.DataFrame
    lines: np.ndarray
    repairs: list[Repair] = field(default_factory=list)

    def keep(self, rows: np.ndarray) -> None:
        """Keep the rows of an index or mask, in its order."""
        self.times = self.times[rows]
        self.values = self.values.iloc[np.flatnonzero(rows) if rows.dtype == bool else rows]
        self.lines = self.lines[rows]

    def at(self, row: int, column: str | None = None) -> str:
        """Where a row (and a cell in it) lies, for messages."""
        cell = "" if column is None else f", column {column!r}"
        return f"{place(self.file, int(self.lines[row]))}{cell} ({self.times[row]})"


def place(file: Path, line: int) -> str:
    """`file, line n` of a text, `file, row n` of a Parquet file; both count from 1."""
    return f"{file}, {'row' if file.suffix == '.parquet' else 'line'} {line}"
