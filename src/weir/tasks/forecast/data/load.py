"""A processed series, loaded to tensors.

A processed folder holds `series.parquet` (time and float64 columns, raw scale), `schema.json`
and, for a simulated series, `truth.json`. Room `preprocessing` writes it, which is apart so that an
edit of the checks retrains nothing.
"""

from __future__ import annotations

import hashlib
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from torch import Tensor

from weir.errors import UserError
from weir.tasks.forecast.data.schema import Part, Schema
from weir.tasks.forecast.data.windows import WindowSet

SERIES = "series.parquet"
TIME = "time"


@dataclass(frozen=True)
class ForecastData:
    """A processed series, resident in memory.

    Attributes:
        values: `[row, variable]` float32, standardised; move it with `to`.
        times: `[row]` datetime64[ns].
        schema: columns, splits, scaler and the rest of `schema.json`.
        folder: where it was loaded from; holds `truth.json` if `schema.simulated`.
    """

    values: Tensor
    times: np.ndarray
    schema: Schema
    folder: Path

    @property
    def name(self) -> str:
        """Name of the dataset node."""
        return self.folder.name

    def card(self) -> dict[str, Any]:
        """What a model must know of its data, for its folder."""
        return asdict(self.schema)

    def split(self, part: Part) -> WindowSet:
        """All windows whose future lies in a part of the series."""
        first, last = self.schema.splits[part]
        return WindowSet(self.values, first, last, self.schema.lookback, self.schema.horizon)

    def to(self, device: torch.device | str) -> ForecastData:
        """The same series with `values` on `device`."""
        return ForecastData(self.values.to(device), self.times, self.schema, self.folder)


def load(folder: Path) -> ForecastData:
    """Load a processed folder.

    Raises:
        UserError: a file is missing or damaged, or does not fit the schema; one line.
    """
    schema = Schema.load(folder)
    file = folder / SERIES
    try:
        frame = pq.read_table(file).to_pandas()
        times = frame[TIME].to_numpy("datetime64[ns]")
        values = frame[list(schema.columns)].to_numpy("float64")
    except (OSError, pa.ArrowException, KeyError, ValueError) as error:
        text = str(error).splitlines()[0]
        raise UserError(f"{file} cannot be read ({text}); rerun weir preprocess") from None
    if digest(times, values) != schema.digest:
        raise UserError(f"{file} does not fit its schema.json; rerun weir preprocess")
    standardised = schema.scaler.standardise(torch.from_numpy(values)).float()
    return ForecastData(standardised, times, schema, folder)


def digest(times: np.ndarray, values: np.ndarray) -> str:
    """SHA-256 of timestamps (int64 ns) and values (float64), little-endian, row by row."""
    sha256 = hashlib.sha256(times.astype("datetime64[ns]").astype("<i8").tobytes())
    sha256.update(np.ascontiguousarray(values, dtype="<f8").tobytes())
    return sha256.hexdigest()
