"""Schema of a processed series: the typed contents of `schema.json`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from weir.artifacts.schema_file import ColumnRepair, SchemaFile

Part = Literal["train", "validation", "test"]

TRUTH = "truth.json"
"""The law of a simulated series, in its raw and processed folders."""


@dataclass(frozen=True)
class Scaler:
    """Mean and standard deviation (population) of each variable over the training rows.

    Attributes:
        mean: of each variable.
        std: of each variable.
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]

    def standardise(self, raw: Tensor) -> Tensor:
        """`[..., variable]` raw to the standardised scale, same dtype."""
        mean, std = self._like(raw)
        return (raw - mean) / std

    def restore(self, values: Tensor) -> Tensor:
        """`[..., variable]` standardised to the raw scale, same dtype."""
        mean, std = self._like(values)
        return values * std + mean

    def _like(self, values: Tensor) -> tuple[Tensor, Tensor]:
        return (
            torch.tensor(self.mean, dtype=values.dtype, device=values.device),
            torch.tensor(self.std, dtype=values.dtype, device=values.device),
        )


@dataclass(frozen=True)
class Schema(SchemaFile):
    """A processed series.

    Attributes:
        task: `forecast`.
        columns: names of the variables, in order.
        frequency: spacing of the rows, a pandas offset.
        cycle: rows of one cycle, or None.
        lookback: rows of history a model sees.
        horizon: rows a model forecasts.
        rows: rows of the series.
        first_time: timestamp of row 0, which gives new data its row and so its phase.
        splits: first and one past the last row of `train`, `validation`, `test`.
        scaler: fitted on the training rows.
        repairs: what was changed, in order.
        source_sha256: SHA-256 of the raw table.
        digest: SHA-256 of the timestamps and values in `series.parquet`.
        simulated: whether `truth.json` holds the law of the series.
    """

    task: Literal["forecast"]
    columns: tuple[str, ...]
    frequency: str
    cycle: int | None
    lookback: int
    horizon: int
    rows: int
    first_time: str
    splits: dict[Part, tuple[int, int]]
    scaler: Scaler
    repairs: tuple[ColumnRepair, ...]
    source_sha256: str
    digest: str
    simulated: bool
