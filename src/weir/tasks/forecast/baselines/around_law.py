"""Joint laws made of a backbone's law of each value and a fixed dependence between values.

Where a value's law is Student's, normal variates become Student-t variates of the same probability,
by a table.
"""

from __future__ import annotations

from functools import cache
from typing import Self

import numpy as np
import torch
import torch.nn.functional as F
from scipy import special
from torch import Tensor, nn

from weir.tasks.forecast.baselines.around_point import over_windows, spaced
from weir.tasks.forecast.data.windows import Windows, WindowSet
from weir.tasks.forecast.representation.heads import Marginal

_LARGEST = 8.0
"""Normal variates beyond this are stretched as this one is; one in 10^15 lies there."""

_SIZES, _TAILS = 513, 257


@cache
def student_table() -> Tensor:
    """`log(t / z)` at sizes z of 0 to 8 and tails 1 / df of 0 to 1, `[tail, size]`.

    t is the Student-t quantile at the probability of z under the standard normal law. The
    logarithm of the stretch is smooth in both, so that linear interpolation is off by less than
    1e-4.
    """
    z = np.linspace(0, _LARGEST, _SIZES)
    z[0] = 1e-3  # the stretch has a limit at zero, reached to 1e-6 here
    tail = np.linspace(0, 1, _TAILS)[1:, None]
    stretch = np.log(-special.stdtrit(1 / tail, special.ndtr(-z)) / z)
    return torch.from_numpy(np.concatenate([np.zeros((1, _SIZES)), stretch])).float()


def student_from_normal(z: Tensor, df: Tensor, table: Tensor) -> Tensor:
    """Student-t quantile at the probability of `z` under the standard normal law.

    Args:
        z: `[batch, draw, ...]`, normal variates.
        df: `[batch, ...]`, degrees of freedom, at least 1.
        table: `student_table()` on the device of `z`.

    Returns:
        of the shape of `z`.
    """
    size = z.abs().clamp_(max=_LARGEST).mul_(2 / _LARGEST).sub_(1)
    tail = (2 / df - 1)[:, None].expand_as(z)
    # An image of one channel, sampled at as many places as there are variates.
    grid = torch.stack([size, tail], dim=-1).reshape(1, -1, 1, 2)
    stretch = F.grid_sample(
        table[None, None], grid, mode="bilinear", padding_mode="border", align_corners=True
    )
    return z * stretch.reshape(z.shape).exp_()


SHRINKAGE = 0.01
"""Share by which correlations are drawn towards zero."""

FIT_WINDOWS = 4096
"""Training windows that a dependence is fitted on, evenly spaced."""


class Head(nn.Module):
    """A frozen backbone with a law for each value, which are drawn independently.

    Args:
        backbone: maps `(history, start)` to a `Marginal`.
    """

    def __init__(self, backbone: nn.Module) -> None:
        super().__init__()
        self.backbone = backbone.requires_grad_(False).eval()

    def fit(self, data: WindowSet) -> Self:
        """There is nothing to fit."""
        return self

    def point(self, history: Tensor, start: Tensor) -> Tensor:
        """The backbone's forecast, `[batch, horizon, variable]`."""
        return self.backbone(history, start).loc

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
        return self.draw(self.backbone(history, start), samples, generator)

    def draw(self, law: Marginal, samples: int, generator: torch.Generator | None) -> Tensor:
        """Draws `[batch, samples, horizon, variable]` of a law."""
        return law.draw(samples, generator)

    def nfe(self, steps: int | None = None, solver: str | None = None) -> int:
        """One call of the backbone serves all samples."""
        return 1


class Dependent(Head):
    """A backbone's law of each value, with Gaussian noise that is correlated within a path.

    Args:
        backbone: see `Head`.
        variables: number of variables.
        horizon: steps to forecast.

    Attributes:
        factor: `[horizon * variable, horizon * variable]`, Cholesky factor of the noise.
    """

    factor: Tensor

    def __init__(self, backbone: nn.Module, variables: int, horizon: int) -> None:
        super().__init__(backbone)
        self.register_buffer("factor", torch.eye(horizon * variables))

    def noise(self, law: Marginal, samples: int, generator: torch.Generator | None) -> Tensor:
        """Correlated normal variates, `[batch, samples, horizon, variable]`."""
        batch, horizon, variables = law.loc.shape
        white = torch.randn(
            batch, samples, len(self.factor), generator=generator, device=self.factor.device
        )
        return (white @ self.factor.T).reshape(batch, samples, horizon, variables)

    def set_moment(self, events: Tensor, *, standardise: bool) -> None:
        """Take the second moment of events `[window, horizon, variable]`.

        One part in a hundred of its off-diagonal is dropped: overlapping windows leave the moment
        of hundreds of coordinates all but singular.

        Args:
            events: what the noise stands for, of mean zero.
            standardise: take the correlation, so that each value of the noise has variance one.
        """
        flat = events.flatten(1).double()
        moment = flat.T @ flat / len(flat)
        scale = moment.diagonal().sqrt()
        correlation = moment / (scale[:, None] * scale) * (1 - SHRINKAGE)
        correlation.fill_diagonal_(1.0)
        factor = torch.linalg.cholesky(correlation)
        self.factor.copy_(factor if standardise else scale[:, None] * factor)


class CorrelatedGaussian(Dependent):
    """Gaussian of the training residuals' covariance, in units of the backbone's scale.

    Much like a residual flow before it is trained.
    """

    def fit(self, data: WindowSet) -> Self:
        """Take the covariance of `(truth - loc) / scale` from training windows."""
        events = over_windows(data, self._event, spaced(len(data), FIT_WINDOWS))
        self.set_moment(events, standardise=False)
        return self

    def draw(self, law: Marginal, samples: int, generator: torch.Generator | None) -> Tensor:
        """See `Head.draw`."""
        return law.loc[:, None] + law.scale[:, None] * self.noise(law, samples, generator)

    def _event(self, batch: Windows) -> Tensor:
        law = self.backbone(batch.history, batch.start)
        return (batch.future - law.loc) / law.scale


class GaussianCopula(Dependent):
    """The backbone's law of each value, tied together by a Gaussian copula."""

    table: Tensor

    def __init__(self, backbone: nn.Module, variables: int, horizon: int) -> None:
        super().__init__(backbone, variables, horizon)
        self.register_buffer("table", student_table(), persistent=False)

    def fit(self, data: WindowSet) -> Self:
        """Take the correlation of the truths' normal scores from training windows."""
        scores = over_windows(data, self._normal_score, spaced(len(data), FIT_WINDOWS))
        # A correlation, so that each value keeps exactly the law that the backbone gives it.
        self.set_moment(scores, standardise=True)
        return self

    def draw(self, law: Marginal, samples: int, generator: torch.Generator | None) -> Tensor:
        """See `Head.draw`."""
        noise = self.noise(law, samples, generator)
        if law.df is not None:
            noise = student_from_normal(noise, law.df, self.table)
        return law.loc[:, None] + law.scale[:, None] * noise

    def _normal_score(self, batch: Windows) -> Tensor:
        law = self.backbone(batch.history, batch.start)
        residual = (batch.future - law.loc) / law.scale
        if law.df is None:
            return residual
        # From the lower tail, where probabilities keep their digits however small they are.
        below = special.stdtr(law.df.double().cpu().numpy(), -residual.abs().double().cpu().numpy())
        size = torch.as_tensor(-special.ndtri(below), dtype=residual.dtype, device=residual.device)
        return torch.copysign(size, residual)
