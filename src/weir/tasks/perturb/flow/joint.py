"""Joint training of autoencoder and flow: the flow's gradient reaches the encoder."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from weir.flows.paths import TimeLaw
from weir.tasks.perturb.flow.coupling import beside_niche, couple_groups
from weir.tasks.perturb.flow.latents import CellQuery
from weir.tasks.perturb.flow.loss import decaying, endpoints, grouped_energy, matching_loss
from weir.tasks.perturb.flow.stage2 import assemble, fit
from weir.tasks.perturb.representation import stage1
from weir.training.objective import LatentJoint

if TYPE_CHECKING:
    from weir.tasks.perturb.data.cells import Cells, CellSet
    from weir.tasks.perturb.data.schema import Schema
    from weir.tasks.perturb.flow.cell_flow import CellFlow
    from weir.tasks.perturb.settings.models import PerturbJoint
    from weir.training.objective import Objective


class JointObjective(LatentJoint):
    """The autoencoder's loss plus `weight` times flow matching on the latents of the batch.

    Control cells and perturbed ones are paired inside each batch and context. Latents are
    standardised by the batch's own moments, through which the gradient goes as well: the flow's
    loss then does not fall when the latents merely shrink. Running moments are what the trained
    model standardises with.

    Args:
        model: built with `frozen=False`.
        autoencoder: the objective of stage 1 on `model.vae`.
        weight: of the flow's loss.
        times: law of the training times.
        draws: posterior draws and times per cell.
        energy_weight: weight of the energy distance beside flow matching.
        energy_steps: Euler steps of the cells generated for it.
        memory: batches over which running moments average.
        settings: the others of `LatentJoint`.
    """

    batches: Tensor

    def __init__(
        self,
        model: CellFlow,
        autoencoder: Objective,
        *,
        weight: float,
        times: TimeLaw = "uniform",
        draws: int = 1,
        energy_weight: float = 0.0,
        energy_steps: int = 2,
        memory: int = 200,
        **settings: Any,
    ) -> None:
        super().__init__(model, autoencoder, weight=weight, **settings)
        self.times: TimeLaw = times
        self.draws = draws
        self.energy_weight, self.energy_steps = energy_weight, energy_steps
        self.memory = memory
        self.register_buffer("batches", torch.zeros((), dtype=torch.int64))

    def flow_groups(self, named: list[tuple[str, nn.Parameter]]) -> list[dict[str, Any]]:
        """Networks decay; what describes contexts and perturbations does not."""
        return decaying(named)

    def forward(self, batch: Cells, progress: float) -> dict[str, Tensor]:
        """`loss`, its parts `autoencoder` and `flow`; `energy` when evaluating."""
        losses = self.autoencoder(batch, progress)
        flow, energy = self._flow(batch)
        total = flow if energy is None or not self.training else flow + self.energy_weight * energy
        found = {
            "loss": losses["loss"] + self.flow_weight(progress) * total,
            "autoencoder": losses["loss"].detach(),
            "flow": flow.detach(),
        }
        if not self.training:
            found["energy"] = flow.new_zeros(()) if energy is None else energy.detach()
        return found

    def _flow(self, batch: Cells) -> tuple[Tensor, Tensor | None]:
        model = self.model
        cells = model.query(batch).cells
        centre, unit = self._moments(cells.mean, cells.log_variance)
        mean, deviation = (cells.mean - centre) / unit, (0.5 * cells.log_variance).exp() / unit
        place = model.contexts[batch.batch, batch.cell_type]
        _, kind = batch.doses.unique(dim=0, return_inverse=True)
        kind = torch.where((batch.doses > 0).any(-1), kind + 1, 0)
        paired = mean.detach()
        if model.effect.niche is not None:
            paired = beside_niche(paired, cells.niche)
        target, source = self._pairs(paired, place, kind)
        if not len(target):
            # No pair in this batch; the sum keeps the graph, so that every gradient exists.
            return 0 * (mean.sum() + deviation.sum()), None
        condition = model.condition(
            CellQuery(cells.take(source)._replace(niche=cells.niche[target]), batch.doses[target])
        )
        condition = condition._replace(mean=mean[source], deviation=deviation[source])
        start, end = endpoints(model, condition, mean[target], deviation[target], self.draws)
        ones = torch.ones(len(target), device=mean.device)
        flow = matching_loss(model, condition, start, end, ones, self.times)
        if self.training and not self.energy_weight:
            return flow, None
        steps, solver = (self.energy_steps, "euler") if self.training else (None, None)
        made = model.transport(start[:, :1], condition, steps=steps, solver=solver).final
        group = place[target] * (int(kind.max()) + 1) + kind[target]
        return flow, grouped_energy(made[:, 0], end[:, 0], group)

    def _moments(self, mean: Tensor, log_variance: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and deviation `[d_latent]` by which to standardise the latents of a batch.

        In training they are the batch's own, which the running ones follow; otherwise the running
        ones.

        Args:
            mean: `[item, d_latent]`, of the posteriors.
            log_variance: `[item, d_latent]`.
        """
        if not self.training:
            return self.model.latent_mean, self.model.latent_sd
        variance = mean.var(0, correction=0) + log_variance.exp().mean(0)
        centre = mean.mean(0)
        self._follow(centre.detach(), variance.detach())
        return centre, variance.sqrt()

    @torch.no_grad()
    def _follow(self, mean: Tensor, variance: Tensor) -> None:
        self.batches += 1
        pace = max(1 / int(self.batches), 1 / self.memory)
        model = self.model
        model.latent_mean.lerp_(mean, pace)
        model.latent_sd.copy_(model.latent_sd.square().lerp(variance, pace).sqrt())

    def _pairs(self, mean: Tensor, place: Tensor, kind: Tensor) -> tuple[Tensor, Tensor]:
        """Cells of the batch that are items, and the source of each, `[item]` both."""
        if self.model.start == "noise":
            every = torch.arange(len(mean), device=mean.device)
            return every, every
        how = self.model.pairing
        target, source = couple_groups(mean, place, kind, method=how.coupling, size=how.size)
        return target, source[:, 0]


def build(config: PerturbJoint, schema: Schema) -> CellFlow:
    """An untrained pair of autoencoder and flow of the shape that a node states."""
    return assemble(config, schema, stage1.build(config, schema), frozen=False)


def prepare(model: CellFlow, config: PerturbJoint, data: CellSet) -> None:
    """Fit what has a closed form; moments follow the encoder during training."""
    stage1.prepare(model.vae, config, data)
    fit(model, data)


def objective(config: PerturbJoint, model: CellFlow) -> JointObjective:
    """What joint training minimises."""
    return JointObjective(
        model,
        stage1.objective(config, model.vae),
        weight=config.flow_weight,
        warmup=config.flow_warmup,
        vae_lr_scale=config.vae_learning_rate,
        times=config.time_sampling,
        draws=config.draws,
        energy_weight=config.energy_weight,
        energy_steps=config.energy_steps,
    )
