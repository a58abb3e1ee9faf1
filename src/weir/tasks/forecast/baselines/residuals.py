"""How a forecaster errs on the training windows: what baselines take their spread from."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import torch
from torch import Tensor

from weir.tasks.forecast.windows import Windows, WindowSet

Point = Callable[[Tensor, Tensor], Tensor]
"""`(history, start) -> [batch, horizon, variable]`."""

T = TypeVar("T")


def spaced(windows: int, most: int) -> Tensor:
    """At most `most` window numbers, evenly spaced: neighbours are almost copies of one another."""
    return torch.linspace(0, windows - 1, min(most, windows)).round().long()


@torch.no_grad()
def over_windows(
    data: WindowSet, see: Callable[[Windows], Tensor], items: Tensor | None = None, chunk: int = 512
) -> Tensor:
    """`see(windows)` for all windows, or for those numbered `items`, `[window, ...]`."""
    items = torch.arange(len(data)) if items is None else items
    return torch.cat([see(data.batch(some)) for some in items.split(chunk)])


def residuals(data: WindowSet, point: Point, items: Tensor | None = None) -> Tensor:
    """Truth less point forecast, `[window, horizon, variable]`."""
    return over_windows(data, lambda batch: batch.future - point(batch.history, batch.start), items)
