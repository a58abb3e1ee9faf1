"""Stage 2 of the clinical task, whichever model a node asks for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from weir.tasks.clinical.flow import record_stage2
from weir.tasks.clinical.heads import head

if TYPE_CHECKING:
    from weir.tasks.clinical.data.records import RecordSet
    from weir.tasks.clinical.data.schema import Schema
    from weir.tasks.clinical.flow.record_flow import RecordFlow
    from weir.tasks.clinical.heads.head import OutcomeHead
    from weir.tasks.clinical.representation.seqsetvae import SeqSetVAE
    from weir.tasks.clinical.settings.models import ClinicalStage2
    from weir.training.objective import Objective


def build(config: ClinicalStage2, schema: Schema, vae: SeqSetVAE) -> RecordFlow | OutcomeHead:
    """An untrained model of the kind and shape that a node states, on a first stage."""
    match config.model:
        case "flow":
            return record_stage2.build(config, schema, vae)
        case "head":
            return head.build(config, schema, vae)


def prepare(
    model: RecordFlow | OutcomeHead, config: ClinicalStage2, data: RecordSet, vae: SeqSetVAE
) -> None:
    """Put in the trained first stage and fit what has a closed form to the training records."""
    match config.model:
        case "flow":
            record_stage2.prepare(model, config, data, vae)
        case "head":
            head.prepare(model, config, data, vae)


def objective(config: ClinicalStage2, model: RecordFlow | OutcomeHead) -> Objective:
    """What the model minimises."""
    match config.model:
        case "flow":
            return record_stage2.objective(config, model)
        case "head":
            return head.objective(config, model)
