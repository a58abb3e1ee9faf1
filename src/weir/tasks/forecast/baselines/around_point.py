"""Point forecasters made probabilistic by their errors on the training windows."""

from __future__ import annotations

from collections.abc import Callable
from typing import Self, TypeVar

import torch
from torch import Tensor, nn

from weir.tasks.forecast.data.windows import Windows, WindowSet

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


class AroundPoint(nn.Module):
    """A frozen point forecaster plus noise that does not look at the history.

    Args:
        forecaster: has `point(history, start) -> [batch, horizon, variable]`.
    """

    def __init__(self, forecaster: nn.Module) -> None:
        super().__init__()
        self.forecaster = forecaster.requires_grad_(False).eval()

    def fit(self, data: WindowSet) -> Self:
        """Take the noise's law from training windows."""
        raise NotImplementedError

    def noise(self, batch: int, samples: int, generator: torch.Generator | None) -> Tensor:
        """`[batch, samples, horizon, variable]`."""
        raise NotImplementedError

    def point(self, history: Tensor, start: Tensor) -> Tensor:
        """The forecaster's own forecast, `[batch, horizon, variable]`."""
        return self.forecaster.point(history, start)

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
        """Draws `[batch, samples, horizon, variable]`; see `Forecaster.sample`."""
        return self.point(history, start)[:, None] + self.noise(len(history), samples, generator)

    def nfe(self, steps: int | None = None, solver: str | None = None) -> int:
        """One call of the forecaster serves all samples."""
        return 1


class GaussianResidual(AroundPoint):
    """Independent Gaussian noise, as large as the training errors at each step and variable.

    Args:
        forecaster: see `AroundPoint`.
        variables: number of variables.
        horizon: steps to forecast.
    """

    scale: Tensor

    def __init__(self, forecaster: nn.Module, variables: int, horizon: int) -> None:
        super().__init__(forecaster)
        self.register_buffer("scale", torch.zeros(horizon, variables))

    def fit(self, data: WindowSet) -> Self:
        """Take root mean squares of the errors from training windows."""
        self.scale.copy_(residuals(data, self.point).square().mean(dim=0).sqrt())
        return self

    def noise(self, batch: int, samples: int, generator: torch.Generator | None) -> Tensor:
        """See `AroundPoint.noise`."""
        shape = (batch, samples, *self.scale.shape)
        return self.scale * torch.randn(shape, generator=generator, device=self.scale.device)


class BootstrapResidual(AroundPoint):
    """Whole error paths of training windows, drawn again.

    Args:
        forecaster: see `AroundPoint`.
        variables: number of variables.
        horizon: steps to forecast.
        paths: error paths that are kept, evenly spaced over the training windows.
    """

    paths: Tensor

    def __init__(self, forecaster: nn.Module, variables: int, horizon: int, paths: int) -> None:
        super().__init__(forecaster)
        self.register_buffer("paths", torch.zeros(paths, horizon, variables))

    def fit(self, data: WindowSet) -> Self:
        """Take error paths from training windows.

        Raises:
            ValueError: there are fewer windows than paths to keep.
        """
        items = spaced(len(data), len(self.paths))
        if len(items) < len(self.paths):
            raise ValueError(f"{len(data)} windows are too few for {len(self.paths)} error paths")
        self.paths.copy_(residuals(data, self.point, items))
        return self

    def noise(self, batch: int, samples: int, generator: torch.Generator | None) -> Tensor:
        """See `AroundPoint.noise`."""
        device = self.paths.device
        drawn = torch.randint(len(self.paths), (batch, samples), generator=generator, device=device)
        return self.paths[drawn]
