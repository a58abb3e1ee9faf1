"""Joint training of SeqSetVAE and flow: the flow's gradient reaches the encoder."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from torch import Tensor, nn

from weir.tasks.clinical.flow import record_stage2 as flow_stage2
from weir.tasks.clinical.flow.grid import merge
from weir.tasks.clinical.flow.items import FlowBatch, encode_bins
from weir.tasks.clinical.flow.loss import FlowObjective, decaying
from weir.tasks.clinical.representation import stage1
from weir.training.objective import LatentJoint

if TYPE_CHECKING:
    from weir.tasks.clinical.data.records import Records, RecordSet
    from weir.tasks.clinical.data.schema import Schema
    from weir.tasks.clinical.flow.record_flow import RecordFlow
    from weir.tasks.clinical.settings.models import ClinicalJoint
    from weir.training.objective import Objective


class JointObjective(LatentJoint):
    """The loss of stage 1 on the sets plus `weight` times the flow's on the records of a batch.

    Args:
        model: built with `frozen=False`.
        autoencoder: the objective of stage 1 on `model.vae`.
        flow: the objective of stage 2 on `model`.
        weight: of the flow's loss.
        settings: the others of `LatentJoint`.
    """

    increasing = frozenset({"auroc", "auprc"})

    def __init__(
        self,
        model: RecordFlow,
        autoencoder: Objective,
        flow: FlowObjective,
        *,
        weight: float = 0.2,
        **settings: Any,
    ) -> None:
        super().__init__(model, autoencoder, weight=weight, **settings)
        self.flow = flow

    def flow_groups(self, named: list[tuple[str, nn.Parameter]]) -> list[dict[str, Any]]:
        """Matrices decay, the rest does not."""
        return decaying(p for _, p in named)

    def forward(self, batch: Records, progress: float) -> dict[str, Tensor]:
        """Stage 1's losses (their sum as `autoencoder`) and the flow's; `loss` is the total.

        When evaluating, the flow has its full weight: losses of different times compare.
        """
        first = self.autoencoder(batch, progress)
        second = self._flow(batch, progress)
        weight = self.flow_weight(progress) if self.training else self.weight
        found = {**second, **first}
        found["loss"] = first["loss"] + weight * second["loss"]
        found["autoencoder"] = first["loss"].detach()
        return found

    def scores(self, predicted: dict[str, Tensor]) -> dict[str, float]:
        """Those of stage 1."""
        return self.autoencoder.scores(predicted)

    def _flow(self, records: Records, progress: float) -> dict[str, Tensor]:
        model = self.model
        hidden, told = model.masks.draw(len(records.outcome), model.grid.bins, model.codes + 1)
        device = records.outcome.device
        batch = FlowBatch(
            records,
            hidden.to(device),
            told.to(device),
            model.vae.represent(records),
            encode_bins(model.vae, merge(records, model.grid), model.grid),
        )
        return self.flow(batch, progress)


def build(config: ClinicalJoint, schema: Schema) -> RecordFlow:
    """An untrained pair of autoencoder and flow of the shape that a node states."""
    return flow_stage2.assemble(config, schema, stage1.build(config, schema), frozen=False)


def prepare(model: RecordFlow, config: ClinicalJoint, data: RecordSet) -> None:
    """Fit what has a closed form."""
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
