"""Students of the image task."""

from __future__ import annotations

from typing import TYPE_CHECKING

from weir.tasks.image import stage2

if TYPE_CHECKING:
    from weir.stages.model_folder import ModelCard
    from weir.tasks.image.image_flow import ImageFlow


def build(card: ModelCard) -> ImageFlow:
    """An untrained student of the shape of the teacher that its card names."""
    return stage2.build(card.parent()).as_student()
