"""Students of the image task."""

from __future__ import annotations

from typing import TYPE_CHECKING

from weir.tasks.image import stage2

if TYPE_CHECKING:
    from weir.stages.model_folder import ModelCard
    from weir.tasks.image.distill_config import ImageDistill
    from weir.tasks.image.image_flow import ImageFlow


def build(card: ModelCard) -> ImageFlow:
    """An untrained student of the shape that its card, with its teacher's, states."""
    return stage2.build(card.parent()).as_student(card.config["student"])


def start(config: ImageDistill, teacher: ImageFlow) -> ImageFlow:
    """The student that a node trains."""
    return teacher.as_student(config.student.model_dump() if config.student else None)
