"""Stage 2: a flow over the residual around a deterministic forecast."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from weir.flows.model import FlowModel
from weir.flows.paths import Path, PathName, TimeLaw, sample_times
from weir.flows.proper import fair_crps, fair_energy
from weir.flows.solvers import SolverName
from weir.flows.sources import GaussianSource, SourceName, shrink
from weir.tasks.forecast import stage1
from weir.tasks.forecast.heads import Marginal
from weir.tasks.forecast.network import VariateVelocity
from weir.tasks.forecast.residual import Residual, ResidualName, residual_law
from weir.tasks.forecast.windows import Windows, WindowSet
from weir.training.objective import Objective

if TYPE_CHECKING:
    from weir.stages.model_folder import ModelCard
    from weir.tasks.forecast.config import ForecastStage2
    from weir.tasks.forecast.stage1 import ITransformer


class WindowCondition(NamedTuple):
    """What the flow of a window depends on.

    Attributes:
        token: `[condition, variable, width]`, the backbone's tokens.
        loc: `[condition, variable, horizon]`, see `weir.tasks.forecast.residual`.
        scale: likewise.
        df: likewise.
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
        residual: coordinates of the residual, see `weir.tasks.forecast.residual`.
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

    def as_student(self) -> ResidualFlow:
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


class Stage2Objective(Objective):
    """Flow matching on the residuals; in evaluation mode also scores of a few draws.

    Args:
        model: the flow; its source is fitted beforehand.
        times: law of the training times.
        draws: pairs of noise and time per window and step; the backbone's work is shared.
        symmetric: see `flow_loss`.
        scored: draws per window of the validation scores `crps` and `energy`; 0 for none.
    """

    def __init__(
        self,
        model: ResidualFlow,
        *,
        times: TimeLaw = "uniform",
        draws: int = 2,
        symmetric: bool = True,
        scored: int = 8,
    ) -> None:
        super().__init__()
        self.model = model
        self.times: TimeLaw = times
        self.draws = draws
        self.symmetric = symmetric
        self.scored = scored

    def forward(self, batch: Windows, progress: float) -> dict[str, Tensor]:
        """`loss`: mean squared error of the velocity; `crps`, `energy` when evaluating."""
        condition = self.model.condition(batch)
        losses = {"loss": self._loss(batch, condition)}
        if not self.training and self.scored:
            losses |= draw_scores(self.model, batch, condition, self.scored)
        return losses

    def _loss(self, batch: Windows, condition: WindowCondition) -> Tensor:
        return flow_loss(
            self.model, batch, condition, self.times, self.draws, symmetric=self.symmetric
        )


def flow_loss(
    model: ResidualFlow,
    batch: Windows,
    condition: WindowCondition,
    times: TimeLaw,
    draws: int,
    *,
    symmetric: bool,
) -> Tensor:
    """Flow-matching loss of `draws` pairs of noise and time per window.

    Overlapping windows of a short series hold few independent residuals, and a flow that sees
    which window it is learns their means by heart, which does harm elsewhere. If `symmetric`,
    residuals are mirrored at random: the flow learns their shape and leaves location to the
    backbone. In evaluation mode nothing is mirrored.
    """
    data = model.events(batch.future, condition)[:, None]
    if symmetric and model.training:
        sign = torch.randint(0, 2, (len(data), 1, 1, 1), device=data.device)
        data = data * (2 * sign - 1)
    noise = model.source(condition, draws)
    shape = (noise.shape[0] * draws,)
    t = sample_times(shape, times, device=noise.device).reshape(-1, draws)
    x = model.path.interpolate(noise, data, t)
    target = model.path.target(noise, data, t)
    return functional.mse_loss(model.velocity(x, t, condition), target)


@torch.no_grad()
def draw_scores(
    model: ResidualFlow, batch: Windows, condition: WindowCondition, draws: int
) -> dict[str, Tensor]:
    """Fair `crps` and `energy` of a few draws at the model's own solver, standardised scale."""
    x = model.transport(model.source(condition, draws), condition).final
    paths = model.decode(x, condition)
    truth = batch.future[:, None]
    return {
        "crps": fair_crps(paths, truth).mean(),
        "energy": fair_energy(paths, truth).mean(),
    }


def build(card: ModelCard) -> ResidualFlow:
    """An untrained flow of the shape that a model's card states, with its backbone."""
    return assemble(card, stage1.build(card.parent()), frozen=True)


def assemble(card: ModelCard, backbone: ITransformer, *, frozen: bool) -> ResidualFlow:
    """A flow on `backbone` with the settings of a stage2 or joint node's card."""
    config, schema = card.config, card.schema
    return ResidualFlow(
        backbone,
        variables=len(schema["columns"]),
        horizon=schema["horizon"],
        token=backbone.embed.out_features,
        residual=config["residual"],
        path=config["path"],
        source=config["source"],
        frozen=frozen,
        **config["network"],
    )


def prepare(
    model: ResidualFlow, config: ForecastStage2, data: WindowSet, backbone: ITransformer
) -> None:
    """Put in the trained backbone and fit the source to its training residuals."""
    model.backbone.load_state_dict(backbone.state_dict())
    fit_source(model, data, kronecker=config.shrink_kronecker, diagonal=config.shrink_diagonal)


def objective(config: ForecastStage2, model: ResidualFlow) -> Stage2Objective:
    """What stage 2 minimises."""
    return Stage2Objective(
        model, times=config.time_sampling, draws=config.draws, symmetric=config.symmetric
    )
