"""What evaluation asks of anything that forecasts: a model, a student or a baseline."""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor


class Forecaster(Protocol):
    """A probabilistic forecaster of many variables, on the standardised scale; an `nn.Module`."""

    def point(self, history: Tensor, start: Tensor) -> Tensor:
        """The single best forecast `[batch, horizon, variable]`.

        Args:
            history: `[batch, lookback, variable]`.
            start: `[batch]` int64, absolute row at which the future begins.
        """
        ...

    def sample(
        self,
        history: Tensor,
        start: Tensor,
        samples: int,
        *,
        steps: int | None = None,
        solver: str | None = None,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """Draws of the future, `[batch, samples, horizon, variable]`.

        Args:
            history: `[batch, lookback, variable]`.
            start: `[batch]` int64, absolute row at which the future begins.
            samples: draws of each item.
            steps: solver or student steps, for models that have them.
            solver: solver, for models that have one.
            generator: source of randomness, on the device of `history`.
        """
        ...

    def nfe(self, steps: int | None = None, solver: str | None = None) -> int:
        """Network calls per sample; 0 for a forecaster without a network."""
        ...
