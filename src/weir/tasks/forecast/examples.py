"""A few windows kept whole, for pictures: fans of quantiles and single paths, on the raw scale."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from weir.metrics.ensembles import order, quantiles
from weir.tasks.forecast.schema import Scaler
from weir.tasks.forecast.windows import Windows

LEVELS = {"q05": 0.05, "q25": 0.25, "q50": 0.5, "q75": 0.75, "q95": 0.95}

PATHS = 8
"""Sampled paths kept of each example."""


class Examples:
    """Evenly spaced windows with their history, truth and forecast.

    Args:
        windows: windows of the part.
        count: windows to keep.
        scaler: takes standardised values to the raw scale.
        columns: names of the variables.
    """

    def __init__(self, windows: int, count: int, scaler: Scaler, columns: Sequence[str]) -> None:
        spaced = torch.linspace(0, windows - 1, min(count, windows) + 2)[1:-1]
        self.wanted = set(spaced.round().long().tolist())
        self.scaler, self.columns = scaler, list(columns)
        self._fans: list[pd.DataFrame] = []
        self._paths: list[pd.DataFrame] = []

    def add(self, items: Tensor, batch: Windows, drawn: Tensor, point: Tensor) -> None:
        """Keep those of `items` that are wanted; see `Tally.add` for the shapes."""
        for place, item in enumerate(items.tolist()):
            if item in self.wanted:
                one = Windows(*(field[place].cpu() for field in batch))
                self._keep(item, one, drawn[place].cpu(), point[place].cpu())

    def tables(self) -> dict[str, pd.DataFrame]:
        """`fans` and `paths`; see `ForecastScores.tables`."""
        if not self._fans:
            return {}
        return {
            "fans": pd.concat(self._fans, ignore_index=True),
            "paths": pd.concat(self._paths, ignore_index=True),
        }

    def _keep(self, item: int, window: Windows, drawn: Tensor, point: Tensor) -> None:
        history, truth, point = map(self.scaler.restore, (window.history, window.future, point))
        drawn = self.scaler.restore(drawn)
        fan = quantiles(order(drawn.movedim(0, -1)), list(LEVELS.values()))
        lookback, horizon = len(history), len(truth)
        ahead = np.arange(1, horizon + 1)
        for number, variable in enumerate(self.columns):
            past = {"step": np.arange(1 - lookback, 1), "truth": history[:, number].numpy()}
            future = {
                "step": ahead,
                "truth": truth[:, number].numpy(),
                "point": point[:, number].numpy(),
                **{name: fan[:, number, k].numpy() for k, name in enumerate(LEVELS)},
            }
            both = pd.concat([pd.DataFrame(past), pd.DataFrame(future)], ignore_index=True)
            both.insert(0, "window", item)
            both.insert(1, "variable", variable)
            self._fans.append(both)
            for draw, path in enumerate(drawn[:PATHS, :, number]):
                named = {"window": item, "variable": variable, "draw": draw}
                self._paths.append(pd.DataFrame(named | {"step": ahead, "value": path.numpy()}))
