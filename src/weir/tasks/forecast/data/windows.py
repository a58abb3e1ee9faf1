"""Sliding windows over a series that stays resident on its device."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor


class Windows(NamedTuple):
    """A batch of windows on the standardised scale.

    Attributes:
        history: `[batch, lookback, variable]`.
        future: `[batch, horizon, variable]`, the truth to forecast.
        start: `[batch]` int64, row of the series at which `future` begins; `start % period` is
            the phase of a cycle of `period` rows.
    """

    history: Tensor
    future: Tensor
    start: Tensor


@dataclass
class WindowSet:
    """All stride-1 windows whose future lies in rows `[first, last)` of `values`.

    The history may reach back before `first`, as in the published ETT protocol.

    Attributes:
        values: `[row, variable]`, standardised, on any device.
        first: first row that may be forecast.
        last: one past the last row that may be forecast.
        lookback: rows of history, in steps.
        horizon: rows of future, in steps.
    """

    values: Tensor
    first: int
    last: int
    lookback: int
    horizon: int

    def __post_init__(self) -> None:
        self.first = max(self.first, self.lookback)
        if len(self) < 1:
            raise ValueError(
                f"no window of {self.lookback} + {self.horizon} rows fits into rows "
                f"{self.first}..{self.last}"
            )

    def __len__(self) -> int:
        return self.last - self.first - self.horizon + 1

    def to(self, device: torch.device | str) -> WindowSet:
        """The same windows with the series on `device`."""
        return WindowSet(self.values.to(device), self.first, self.last, self.lookback, self.horizon)

    def batch(self, items: Tensor) -> Windows:
        """The windows numbered `items` (`[batch]` int64, any device), gathered in one call."""
        start = items.to(self.values.device) + self.first
        span = torch.arange(-self.lookback, self.horizon, device=self.values.device)
        rows = self.values[start[:, None] + span]
        return Windows(rows[:, : self.lookback], rows[:, self.lookback :], start)
