"""Fitting a baseline node, and building one from its card."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import nn

from weir.tasks.image import baselines
from weir.tasks.image.settings.baseline import ImageBaseline

if TYPE_CHECKING:
    from weir.artifacts.model_folder import ModelCard
    from weir.tasks.image.data.load import ImageData
    from weir.training.loop import Log


def build(card: ModelCard) -> baselines.Fitted:
    """An unfitted baseline of the kind that a model's card states."""
    return baselines.build(ImageBaseline.model_validate(card.config), card.schema)


def fit(
    model: baselines.Fitted,
    config: ImageBaseline,
    data: ImageData,
    upstream: nn.Module | None,
    *,
    seed: int,
    checkpoints: Path,
    log: Log,
) -> list[dict[str, Any]]:
    """Fit a baseline on the training items; there is no history of training."""
    model.eval().requires_grad_(False).fit(data, seed)
    return []
