"""Joint laws made of a backbone's law of each value and a fixed dependence between values."""

from __future__ import annotations

from typing import Self

import torch
from scipy import special
from torch import Tensor, nn

from weir.tasks.forecast.baselines.residuals import over_windows, spaced
from weir.tasks.forecast.baselines.student import student_from_normal, student_table
from weir.tasks.forecast.heads import Marginal
from weir.tasks.forecast.windows import Windows, WindowSet

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
