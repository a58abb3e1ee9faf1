"""Fitting a baseline node, and building one."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import nn

from weir.tasks.clinical import baselines
from weir.training.loop import train

if TYPE_CHECKING:
    from weir.tasks.clinical.data.load import ClinicalData
    from weir.tasks.clinical.data.schema import Schema
    from weir.tasks.clinical.settings.baseline import ClinicalBaseline
    from weir.training.loop import Log


def build(config: ClinicalBaseline, schema: Schema, below: nn.Module | None) -> baselines.Fitted:
    """An unfitted baseline of the kind that a node states."""
    return baselines.build(config, schema, below)


def fit(
    model: baselines.Fitted,
    config: ClinicalBaseline,
    data: ClinicalData,
    upstream: nn.Module | None,
    *,
    seed: int,
    checkpoints: Path,
    log: Log,
) -> list[dict[str, Any]]:
    """Fit a baseline on the training records; returns the history of training, if there was any.

    Raises:
        UserError: an oracle is asked for, but the data is not simulated; or a model that has
            nothing to lend to `stacked`.
    """
    history: list[dict[str, Any]] = []
    match config.method:
        case "stacked" if upstream is not None:
            model.model.load_state_dict(upstream.state_dict())
        case "gru_d":
            history = train(
                baselines.GRUDObjective(model),
                data.split("train"),
                data.split("validation"),
                config.training,
                seed=seed,
                checkpoints=checkpoints,
                log=log,
                label=f"gru_d seed {seed}",
            ).history
    model.eval().requires_grad_(False).fit(data, seed)
    return history
