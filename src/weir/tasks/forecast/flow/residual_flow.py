"""Residual flow: joint paths of a window as errors around a frozen backbone's forecast."""

from __future__ import annotations

import copy
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from weir.flows.model import FlowModel
from weir.flows.paths import Path, PathName
from weir.flows.solvers import SolverName
from weir.flows.sources import GaussianSource, SourceName, shrink
from weir.tasks.forecast.data.windows import Windows, WindowSet
from weir.tasks.forecast.flow.network import Residual, ResidualName, VariateVelocity, residual_law
from weir.tasks.forecast.representation.heads import Marginal


class WindowCondition(NamedTuple):
    """What the flow of a window depends on.

    Attributes:
        token: `[condition, variable, width]`, the backbone's tokens.
        loc: `[condition, variable, horizon]`, see `weir.tasks.forecast.flow.network`.
        scale: the same.
        df: the same.
    """

    token: Tensor
    loc: Tensor
    scale: Tensor
    df: Tensor

    @property
    def residual(self) -> Residual:
        """The coordinates of the events."""
        return Residual(self.loc, self.scale, self.df)


class ResidualFlow(FlowModel):
    """Joint law of the future, as a flow of its residual given the backbone.

    The backbone is part of the model, so that one folder holds all that sampling needs. Events
    are `[variable, horizon]`. Network and path are arranged so that an untrained flow is the
    Gaussian of its source: training can only add what is not Gaussian or depends on the window.

    Args:
        backbone: has `describe(history, start)`, which returns tokens `[batch, variable, token]`
            and a `Marginal`, and `point(history, start)`.
        variables: number of variables.
        horizon: steps of the future.
        token: width of the backbone's tokens.
        residual: coordinates of the residual, see `weir.tasks.forecast.flow.network`.
        path: probability path.
        source: law of the noise; `correlated` is to be set by `fit_source`.
        frozen: keep the backbone as it is, without gradient and in evaluation mode.
        width: width of the velocity network.
        layers: its transformer blocks.
        heads: its attention heads.
        dropout: dropout of its blocks.
        condition_dropout: dropout of the backbone's tokens.
        steps: default solver steps.
        solver: default solver.
        student: build the network with the step-size input of a student.
    """

    spread: Tensor

    def __init__(
        self,
        backbone: nn.Module,
        *,
        variables: int,
        horizon: int,
        token: int,
        residual: ResidualName = "normal_score",
        path: PathName = "trigonometric",
        source: SourceName = "correlated",
        frozen: bool = True,
        width: int = 64,
        layers: int = 2,
        heads: int = 4,
        dropout: float = 0.0,
        condition_dropout: float = 0.1,
        steps: int = 2,
        solver: SolverName = "midpoint",
        student: bool = False,
    ) -> None:
        super().__init__()
        self.event = (variables, horizon)
        self.backbone = backbone
        self.frozen = frozen
        self.residual: ResidualName = residual
        self.path = Path(path)
        self.noise = GaussianSource(self.event, source)
        self.register_buffer("spread", torch.ones(self.event))
        self.network = VariateVelocity(
            horizon,
            token,
            width=width,
            layers=layers,
            heads=heads,
            dropout=dropout,
            condition_dropout=condition_dropout,
            student=student,
        )
        self.steps, self.solver, self.student = steps, solver, student
        if frozen:
            backbone.requires_grad_(False)
        self.train(self.training)

    def train(self, mode: bool = True) -> ResidualFlow:
        """As usual, but a frozen backbone stays in evaluation mode."""
        super().train(mode)
        if self.frozen:
            self.backbone.eval()
        return self

    def as_student(self, settings: Any = None) -> ResidualFlow:
        """A copy with a step-size input that does nothing yet; its backbone is frozen."""
        student = copy.deepcopy(self)
        student.network.add_step()
        student.student = student.frozen = True
        student.backbone.requires_grad_(False)
        return student.train(self.training)

    def condition(self, batch: Windows) -> WindowCondition:
        """Tokens, location and scale of a batch's histories; the future is not looked at."""
        return self.describe(batch.history, batch.start)

    def describe(self, history: Tensor, start: Tensor) -> WindowCondition:
        """The condition of `history`, `[batch, lookback, variable]`, and `start`, `[batch]`."""
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self.frozen):
            return self.conditioned(*self.backbone.describe(history, start))

    def conditioned(self, token: Tensor, marginal: Marginal) -> WindowCondition:
        """The condition made of what the backbone says of a window.

        Only the token carries a gradient: a flow's loss also falls when the residual is scaled
        down, which is no improvement of the forecast.
        """
        return WindowCondition(token, *residual_law(self.residual, _detached(marginal)))

    def events(self, future: Tensor, condition: WindowCondition) -> Tensor:
        """Residuals `[batch, variable, horizon]` of futures `[batch, horizon, variable]`."""
        return condition.residual.score(future.mT) / self.spread

    def colour(self, white: Tensor, condition: WindowCondition) -> Tensor:
        """White noise `[..., variable, horizon]` with the residuals' covariance."""
        return self.noise.colour(white)

    def velocity(
        self, x: Tensor, t: Tensor, condition: WindowCondition, step: Tensor | None = None
    ) -> Tensor:
        """The Gaussian's velocity plus the network's; `x` is `[condition, draw, *event]`."""
        learnt = self.network(x, t, condition.token, step)
        gain = self.path.gaussian_gain(t, step)
        return learnt + gain.reshape(gain.shape + (1,) * (x.ndim - gain.ndim)) * x

    def decode(self, x: Tensor, condition: WindowCondition) -> Tensor:
        """Futures `[condition, draw, horizon, variable]` of events."""
        return condition.residual.value(x * self.spread).mT

    def point(self, history: Tensor, start: Tensor) -> Tensor:
        """The backbone's forecast `[batch, horizon, variable]`."""
        return self.backbone.point(history, start)

    def sample(
        self,
        history: Tensor,
        start: Tensor,
        samples: int,
        *,
        steps: int | None = None,
        solver: SolverName | None = None,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """Paths `[batch, samples, horizon, variable]` on the standardised scale."""
        batch = Windows(history, history[:, :0], start)
        return self.draw(batch, samples, steps=steps, solver=solver, generator=generator)


def _detached(marginal: Marginal) -> Marginal:
    return Marginal(*(field if field is None else field.detach() for field in marginal))


@torch.no_grad()
def fit_source(
    model: ResidualFlow,
    data: WindowSet,
    *,
    kronecker: float = 0.5,
    diagonal: float = 0.01,
    chunk: int = 512,
) -> None:
    """Set the residual's unit per variable and horizon and the source's covariance from `data`.

    Args:
        model: its buffers are overwritten.
        data: training windows.
        kronecker: shrinkage of the covariance towards its Kronecker structure, 0 to 1.
        diagonal: shrinkage towards the diagonal, 0 to 1.
        chunk: windows per evaluation of the backbone.
    """
    was_training = model.training
    model.eval()
    model.spread.fill_(1.0)
    parts = []
    for items in torch.arange(len(data)).split(chunk):
        batch = data.batch(items)
        parts.append(model.events(batch.future, model.condition(batch)))
    scores = torch.cat(parts).flatten(1)
    model.train(was_training)
    set_source(model, scores.T @ scores / len(scores), kronecker=kronecker, diagonal=diagonal)


@torch.no_grad()
def set_source(model: ResidualFlow, moment: Tensor, *, kronecker: float, diagonal: float) -> None:
    """Set unit and covariance from `moment`, `[variable * horizon] * 2`, of unscaled residuals."""
    unit = moment.diagonal().sqrt()
    model.spread.copy_(unit.reshape(model.event))
    if model.noise.name == "correlated":
        correlation = moment / (unit[:, None] * unit)
        model.noise.set_covariance(
            shrink(correlation, model.event, kronecker=kronecker, diagonal=diagonal)
        )
