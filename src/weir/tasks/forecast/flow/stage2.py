"""Stage 2: a flow over the residual around a deterministic forecast."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn import functional

from weir.flows.paths import TimeLaw, sample_times
from weir.flows.proper import fair_crps, fair_energy
from weir.tasks.forecast.data.windows import Windows, WindowSet
from weir.tasks.forecast.flow.residual_flow import ResidualFlow, WindowCondition, fit_source
from weir.training.objective import Objective

if TYPE_CHECKING:
    from weir.tasks.forecast.data.schema import Schema
    from weir.tasks.forecast.representation.itransformer import ITransformer
    from weir.tasks.forecast.settings.models import FlowSettings, ForecastStage2


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


def build(config: ForecastStage2, schema: Schema, backbone: ITransformer) -> ResidualFlow:
    """An untrained flow of the shape that a node states, on a backbone that stays as it is."""
    return assemble(config, schema, backbone, frozen=True)


def assemble(
    config: FlowSettings, schema: Schema, backbone: ITransformer, *, frozen: bool
) -> ResidualFlow:
    """A flow on `backbone` with the settings of a stage2 or joint node."""
    return ResidualFlow(
        backbone,
        variables=len(schema.columns),
        horizon=schema.horizon,
        token=backbone.embed.out_features,
        residual=config.residual,
        path=config.path,
        source=config.source,
        frozen=frozen,
        **config.network.model_dump(),
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
