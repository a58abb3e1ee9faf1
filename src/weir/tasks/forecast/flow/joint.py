"""Joint training of backbone and flow: the flow's gradient reaches the representation."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from weir.flows.paths import TimeLaw
from weir.tasks.forecast.data.windows import Windows, WindowSet
from weir.tasks.forecast.flow.residual_flow import ResidualFlow, WindowCondition, set_source
from weir.tasks.forecast.flow.stage2 import assemble, draw_scores, flow_loss
from weir.tasks.forecast.representation import stage1
from weir.tasks.forecast.representation.heads import Marginal
from weir.training.objective import Objective

if TYPE_CHECKING:
    from weir.tasks.forecast.data.schema import Schema
    from weir.tasks.forecast.settings.models import ForecastJoint

BackboneLoss = Callable[[Marginal, Tensor], Tensor]
"""`(the backbone's law, future [batch, horizon, variable]) -> scalar`."""


@dataclass(frozen=True)
class Curriculum:
    """Weights of the two losses as training goes on.

    The backbone's weight falls linearly from `start` to `warm` during the warm-up, then is `end`;
    the flow's weight is what is missing to one.

    Attributes:
        warmup: share of the training, 0 to 1.
        start: the backbone's weight at the beginning.
        warm: ... at the end of the warm-up.
        end: ... afterwards.
    """

    warmup: float = 0.3
    start: float = 1.0
    warm: float = 0.7
    end: float = 0.3

    def backbone_weight(self, progress: float) -> float:
        """The backbone's weight when a share `progress` of the training is done."""
        if progress >= self.warmup:
            return self.end
        return self.start + (self.warm - self.start) * progress / self.warmup


class JointObjective(Objective):
    """Backbone's loss plus flow-matching loss, one optimizer, two learning rates.

    The residual's unit and covariance change while the backbone learns, so they are running
    moments of the training batches. The flow's loss sends its gradient through the tokens
    only: through the residual itself it would merely learn to make the scale large.

    Args:
        model: built with `frozen=False`.
        backbone_loss: the loss of stage 1.
        curriculum: weights of the two losses.
        backbone_lr_scale: the backbone's learning rate as a multiple of the flow's.
        times: law of the training times.
        draws: pairs of noise and time per window and step.
        symmetric: see `flow_loss`.
        scored: draws per window of the validation scores; 0 for none.
        memory: batches over which the running moments average.
        refresh: batches between two fits of the source.
        kronecker: shrinkage of the covariance towards its Kronecker structure.
        diagonal: shrinkage towards the diagonal.
    """

    moment: Tensor
    batches: Tensor

    def __init__(
        self,
        model: ResidualFlow,
        backbone_loss: BackboneLoss,
        *,
        curriculum: Curriculum | None = None,
        backbone_lr_scale: float = 1.0,
        times: TimeLaw = "uniform",
        draws: int = 2,
        symmetric: bool = True,
        scored: int = 8,
        memory: int = 200,
        refresh: int = 20,
        kronecker: float = 0.5,
        diagonal: float = 0.01,
    ) -> None:
        super().__init__()
        if model.frozen:
            raise ValueError("joint training needs a model that is not frozen")
        self.model = model
        self.backbone_loss = backbone_loss
        self.curriculum = Curriculum() if curriculum is None else curriculum
        self.backbone_lr_scale = backbone_lr_scale
        self.times: TimeLaw = times
        self.draws = draws
        self.symmetric = symmetric
        self.scored = scored
        self.memory = memory
        self.refresh = refresh
        self.shrinkage = {"kronecker": kronecker, "diagonal": diagonal}
        size = int(torch.Size(model.event).numel())
        self.register_buffer("moment", torch.zeros(size, size))
        self.register_buffer("batches", torch.zeros((), dtype=torch.int64))

    def parameter_groups(self) -> list[dict[str, Any]]:
        """The backbone's parameters with their own learning rate, and the flow's."""
        return [
            {
                "params": list(self.model.backbone.parameters()),
                "lr_scale": self.backbone_lr_scale,
            },
            {"params": list(self.model.network.parameters())},
        ]

    def forward(self, batch: Windows, progress: float) -> dict[str, Tensor]:
        """`loss`, its parts `backbone` and `flow`; `crps`, `energy` when evaluating."""
        token, marginal = self.model.backbone.describe(batch.history, batch.start)
        condition = self.model.conditioned(token, marginal)
        if self.training:
            self._follow(batch, condition)
        backbone = self.backbone_loss(marginal, batch.future)
        flow = flow_loss(
            self.model, batch, condition, self.times, self.draws, symmetric=self.symmetric
        )
        weight = self.curriculum.backbone_weight(progress)
        losses = {
            "loss": weight * backbone + (1 - weight) * flow,
            "backbone": backbone.detach(),
            "flow": flow.detach(),
        }
        if not self.training and self.scored:
            losses |= draw_scores(self.model, batch, condition, self.scored)
        return losses

    @torch.no_grad()
    def _follow(self, batch: Windows, condition: WindowCondition) -> None:
        """Update the running moment of the residuals and, now and then, the source."""
        flat = (self.model.events(batch.future, condition) * self.model.spread).flatten(1)
        self.batches += 1
        count = int(self.batches)
        self.moment.lerp_(flat.T @ flat / len(flat), max(1 / count, 1 / self.memory))
        if count == 1 or count % self.refresh == 0:
            set_source(self.model, self.moment, **self.shrinkage)


def point_and_likelihood(point_weight: float = 0.5) -> BackboneLoss:
    """Stage 1's loss: negative log-likelihood plus `point_weight` times the squared error."""

    def loss(marginal: Marginal, future: Tensor) -> Tensor:
        square = (future - marginal.loc).square().mean()
        return marginal.nll(future).mean() + point_weight * square

    return loss


def build(config: ForecastJoint, schema: Schema) -> ResidualFlow:
    """An untrained pair of backbone and flow of the shape that a node states."""
    return assemble(config, schema, stage1.build(config, schema), frozen=False)


def prepare(model: ResidualFlow, config: ForecastJoint, data: WindowSet) -> None:
    """Fit what has a closed form; the source follows the backbone during training."""
    stage1.prepare(model.backbone, config, data)


def objective(config: ForecastJoint, model: ResidualFlow) -> JointObjective:
    """What joint training minimises."""
    weights = config.curriculum
    return JointObjective(
        model,
        point_and_likelihood(config.point_weight),
        curriculum=Curriculum(
            weights.warmup,
            weights.deterministic_start,
            weights.deterministic_warm,
            weights.deterministic_end,
        ),
        backbone_lr_scale=config.backbone_learning_rate,
        times=config.time_sampling,
        draws=config.draws,
        symmetric=config.symmetric,
        kronecker=config.shrink_kronecker,
        diagonal=config.shrink_diagonal,
    )
