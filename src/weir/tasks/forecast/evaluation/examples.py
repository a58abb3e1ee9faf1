"""A few windows kept whole, for pictures: fans of quantiles and single paths."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from weir.metrics.ensembles import order, quantiles
from weir.tasks.forecast.data.windows import Windows

LEVELS = {"q05": 0.05, "q25": 0.25, "q50": 0.5, "q75": 0.75, "q95": 0.95}

PATHS = 8
"""Sampled paths kept of each example."""


class Examples:
    """Evenly spaced windows with their history, truth and forecast, on the standardised scale.

    Args:
        windows: windows of the part.
        count: windows to keep.
        columns: names of the variables.
    """

    def __init__(self, windows: int, count: int, columns: Sequence[str]) -> None:
        spaced = torch.linspace(0, windows - 1, min(count, windows) + 2)[1:-1]
        self.wanted = set(spaced.round().long().tolist())
        self.columns = list(columns)
        self._frames: list[pd.DataFrame] = []

    def add(self, items: Tensor, batch: Windows, drawn: Tensor, point: Tensor) -> None:
        """Keep those of `items` that are wanted; see `Tally.add` for the shapes."""
        for place, item in enumerate(items.tolist()):
            if item in self.wanted:
                one = Windows(*(field[place].cpu() for field in batch))
                self._keep(item, one, drawn[place].cpu(), point[place].cpu())

    def table(self) -> pd.DataFrame:
        """The table `fans`; see `ForecastScores.tables`."""
        return pd.concat(self._frames, ignore_index=True) if self._frames else pd.DataFrame()

    def _keep(self, item: int, window: Windows, drawn: Tensor, point: Tensor) -> None:
        bands = quantiles(order(drawn.movedim(0, -1)), list(LEVELS.values()))
        lookback, horizon = len(window.history), len(window.future)
        for number, variable in enumerate(self.columns):
            past = {
                "step": np.arange(1 - lookback, 1),
                "kind": "history",
                "truth": window.history[:, number].numpy(),
            }
            ahead = {
                "step": np.arange(1, horizon + 1),
                "kind": "future",
                "truth": window.future[:, number].numpy(),
                "point": point[:, number].numpy(),
                **{name: bands[:, number, k].numpy() for k, name in enumerate(LEVELS)},
                **{f"p{k}": path[:, number].numpy() for k, path in enumerate(drawn[:PATHS])},
            }
            frame = pd.concat([pd.DataFrame(past), pd.DataFrame(ahead)], ignore_index=True)
            frame.insert(0, "window", item)
            frame.insert(1, "variable", variable)
            self._frames.append(frame)
