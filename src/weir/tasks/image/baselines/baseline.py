"""Fitting a baseline node, and building one."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import nn

from weir.tasks.image import baselines

if TYPE_CHECKING:
    from weir.tasks.image.data.load import ImageData
    from weir.tasks.image.data.schema import Schema
    from weir.tasks.image.settings.baseline import ImageBaseline
    from weir.training.loop import Log


def build(config: ImageBaseline, schema: Schema, below: nn.Module | None) -> baselines.Fitted:
    """An unfitted baseline of the kind that a node states."""
    return baselines.build(config, schema)


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
