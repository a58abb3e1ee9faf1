"""Fitting a baseline node, and building one."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import nn

from weir.tasks.perturb import baselines

if TYPE_CHECKING:
    from weir.tasks.perturb.data.load import PerturbData
    from weir.tasks.perturb.data.schema import Schema
    from weir.tasks.perturb.settings.scoring import PerturbBaseline
    from weir.training.loop import Log


def build(config: PerturbBaseline, schema: Schema, vae: nn.Module | None) -> baselines.Fitted:
    """An unfitted baseline of the kind that a node states."""
    return baselines.build(config.method, schema.scale, shift=config.shift, vae=vae)


def fit(
    model: baselines.Fitted,
    config: PerturbBaseline,
    data: PerturbData,
    vae: nn.Module | None,
    *,
    seed: int,
    checkpoints: Path,
    log: Log,
) -> list[dict[str, Any]]:
    """Fit a baseline on the training cells; there is no history of training.

    Raises:
        UserError: an oracle is asked for, but the data is not simulated.
    """
    if vae is not None:
        model.vae.load_state_dict(vae.state_dict())
    model.eval().requires_grad_(False).fit(data)
    return []
