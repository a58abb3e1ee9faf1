"""Students of the image task."""

from __future__ import annotations

from typing import TYPE_CHECKING

from weir.tasks.image.flow import stage2

if TYPE_CHECKING:
    from weir.artifacts.model_folder import ModelCard
    from weir.tasks.image.flow.image_flow import ImageFlow
    from weir.tasks.image.settings.scoring import ImageDistill


def build(card: ModelCard) -> ImageFlow:
    """An untrained student of the shape that its card, with its teacher's, states."""
    return stage2.build(card.parent()).as_student(card.config["student"])


def start(config: ImageDistill, teacher: ImageFlow) -> ImageFlow:
    """The student that a node trains."""
    return teacher.as_student(config.student.model_dump() if config.student else None)
