"""Joint training of SeqSetVAE and flow: the flow's gradient reaches the encoder."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from weir.tasks.clinical import flow_stage2, stage1
from weir.tasks.clinical.bin_data import bin_batch
from weir.tasks.clinical.flow_loss import FlowObjective, decaying
from weir.training.objective import Objective

if TYPE_CHECKING:
    from weir.stages.model_folder import ModelCard
    from weir.tasks.clinical.flow import RecordFlow
    from weir.tasks.clinical.joint_config import ClinicalJoint
    from weir.tasks.clinical.records import Records, RecordSet


class JointObjective(Objective):
    """The loss of stage 1 on the sets plus `weight` times the flow's on the bins of a batch.

    Latents are standardised by the batch's own moments, through which the gradient goes as well:
    the flow's loss then does not fall when the latents merely shrink. Running moments are what
    the trained model standardises with.

    Args:
        model: built with `frozen=False`.
        autoencoder: the objective of stage 1 on `model.vae`.
        flow: the objective of stage 2 on `model`.
        weight: of the flow's loss.
        warmup: share of the training during which that weight rises from zero.
        vae_lr_scale: the autoencoder's learning rate as a multiple of the flow's.
        memory: batches over which running moments average.
    """

    batches: Tensor
    increasing = frozenset({"auroc", "auprc"})

    def __init__(
        self,
        model: RecordFlow,
        autoencoder: Objective,
        flow: FlowObjective,
        *,
        weight: float = 0.2,
        warmup: float = 0.3,
        vae_lr_scale: float = 1.0,
        memory: int = 200,
    ) -> None:
        super().__init__()
        if model.frozen:
            raise ValueError("joint training needs a model that is not frozen")
        self.model, self.autoencoder, self.flow = model, autoencoder, flow
        self.weight, self.warmup, self.vae_lr_scale = weight, warmup, vae_lr_scale
        self.memory = memory
        self.register_buffer("batches", torch.zeros((), dtype=torch.int64))

    def parameter_groups(self) -> list[dict[str, Any]]:
        """The autoencoder's groups with a learning rate of their own, and the flow's."""
        groups = [
            {**group, "lr_scale": self.vae_lr_scale}
            for group in self.autoencoder.parameter_groups()
        ]
        known = {id(p) for p in self.autoencoder.parameters()}
        return [*groups, *decaying(p for p in self.model.parameters() if id(p) not in known)]

    def flow_weight(self, progress: float) -> float:
        """Weight of the flow's loss when a share `progress` of the training is done."""
        return self.weight * min(1.0, progress / self.warmup if self.warmup else 1.0)

    def forward(self, batch: Records, progress: float) -> dict[str, Tensor]:
        """Stage 1's losses (their sum as `autoencoder`) and the flow's; `loss` is the total.

        When evaluating, the flow has its full weight: losses of different times compare.
        """
        first = self.autoencoder(batch, progress)
        second = self._flow(batch)
        weight = self.flow_weight(progress) if self.training else self.weight
        found = {**second, **first}
        found["loss"] = first["loss"] + weight * second["loss"]
        found["autoencoder"] = first["loss"].detach()
        return found

    def scores(self, predicted: dict[str, Tensor]) -> dict[str, float]:
        """Those of stage 1."""
        return self.autoencoder.scores(predicted)

    def _flow(self, records: Records) -> dict[str, Tensor]:
        model = self.model
        hidden, told = model.masks.draw(len(records.outcome), model.grid.bins)
        device = records.outcome.device
        batch = bin_batch(
            records, model.grid, model.marginals, model.vae, hidden.to(device), told.to(device)
        )
        full = batch.occupied
        if self.training and bool(full.any()):
            mean, log_variance = batch.mean[full], batch.log_variance[full]
            variance = mean.var(0, correction=0) + log_variance.exp().mean(0)
            centre, unit = mean.mean(0), variance.sqrt()
            self._follow(centre.detach(), variance.detach())
        else:
            centre, unit = model.latent_mean, model.latent_sd
        mean = (batch.mean - centre) / unit
        deviation = (0.5 * batch.log_variance).exp() / unit
        return self.flow.losses(model.told(batch, mean), batch, mean, deviation)

    @torch.no_grad()
    def _follow(self, mean: Tensor, variance: Tensor) -> None:
        """Update what the trained model standardises with."""
        model = self.model
        self.batches += 1
        pace = max(1 / int(self.batches), 1 / self.memory)
        model.latent_mean.lerp_(mean, pace)
        model.latent_sd.copy_(model.latent_sd.square().lerp(variance, pace).sqrt())


def build(card: ModelCard) -> RecordFlow:
    """An untrained pair of autoencoder and flow of the shape that a model's card states."""
    return flow_stage2.assemble(card, stage1.build(card), frozen=False)


def prepare(model: RecordFlow, config: ClinicalJoint, data: RecordSet) -> None:
    """Fit what has a closed form; the latents' moments follow the encoder during training."""
    stage1.prepare(model.vae, config, data)
    flow_stage2.fit(model, data)


def objective(config: ClinicalJoint, model: RecordFlow) -> JointObjective:
    """What joint training minimises."""
    return JointObjective(
        model,
        stage1.objective(config, model.vae),
        flow_stage2.objective(config, model),
        weight=config.flow_weight,
        warmup=config.flow_warmup,
        vae_lr_scale=config.vae_learning_rate,
    )
