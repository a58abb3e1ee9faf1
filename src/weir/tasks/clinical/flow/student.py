"""Students of record flows: the teacher's network with a step size as a further input."""

from __future__ import annotations

from typing import TYPE_CHECKING

from weir.tasks.clinical.flow import joint
from weir.tasks.clinical.flow import record_stage2 as flow_stage2

if TYPE_CHECKING:
    from weir.artifacts.model_folder import ModelCard
    from weir.settings.nodes import Distill
    from weir.tasks.clinical.flow.record_flow import RecordFlow


def build(card: ModelCard) -> RecordFlow:
    """An untrained student of the shape of the teacher that its card names."""
    teacher = card.parent()
    module = flow_stage2 if teacher.section == "stage2" else joint
    return module.build(teacher).as_student()


def start(config: Distill, teacher: RecordFlow) -> RecordFlow:
    """The student that a node trains: a copy of its teacher."""
    return teacher.as_student()
