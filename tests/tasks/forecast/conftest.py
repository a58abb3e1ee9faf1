"""A small table, and the way from its bytes to loaded data."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from weir.artifacts.raw_folder import RawFolder
from weir.tasks.forecast.data.load import ForecastData, load
from weir.tasks.forecast.preprocessing.preprocess import preprocess
from weir.tasks.forecast.settings.dataset import ForecastDataset

ROWS = 60
SMALL: dict[str, Any] = {
    "task": "forecast",
    "source": {"path": "series.csv", "sha256": "0" * 64},
    "frequency": "1h",
    "lookback": 6,
    "horizon": 3,
}


@pytest.fixture
def table() -> pd.DataFrame:
    """Sixty hours of two variables; row 0 stands in line 2 of a CSV."""
    random = np.random.default_rng(0)
    values = random.normal(size=(ROWS, 2)).cumsum(0) + 20
    frame = pd.DataFrame(values, columns=["a", "b"])
    frame.insert(0, "date", pd.date_range("2024-01-01", periods=ROWS, freq="1h").astype(str))
    return frame


@pytest.fixture
def process(tmp_path: Path) -> Callable[..., ForecastData]:
    """Write a raw file, preprocess it with some settings, and load the result."""

    def run(raw: pd.DataFrame | bytes, name: str = "series.csv", **settings: Any) -> ForecastData:
        folder, output = tmp_path / "raw", tmp_path / "processed"
        folder.mkdir(exist_ok=True)
        output.mkdir(exist_ok=True)
        if isinstance(raw, bytes):
            (folder / name).write_bytes(raw)
        elif name.endswith(".parquet"):
            raw.to_parquet(folder / name)
        else:
            raw.to_csv(folder / name, index=False)
        RawFolder.record(folder, name, [name])
        preprocess(ForecastDataset.model_validate(SMALL | settings), folder, output)
        return load(output)

    return run
