"""Fitting a baseline node, and building one from its card."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import nn

from weir.tasks import part
from weir.tasks.clinical import baselines
from weir.tasks.clinical.settings.baseline import ClinicalBaseline
from weir.training.loop import train

if TYPE_CHECKING:
    from weir.artifacts.model_folder import ModelCard
    from weir.tasks.clinical.data.load import ClinicalData
    from weir.training.loop import Log


def build(card: ModelCard) -> baselines.Fitted:
    """An unfitted baseline of the kind that a model's card states."""
    config = ClinicalBaseline.model_validate(card.config)
    below = built_on(card.parent()) if card.upstream else None
    return baselines.build(config, card.schema, below)


def built_on(card: ModelCard) -> nn.Module:
    """The model, without its weights, that a baseline is built on."""
    match card.section:
        case "stage1":
            return part(card.task, "representation.stage1").build(card)
        case "stage2":
            return part(card.task, "flow.stage2").build(card)
        case _:
            return part(card.task, "flow.joint").build(card)


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
    if isinstance(model, baselines.Stacked) and upstream is not None:
        model.model.load_state_dict(upstream.state_dict())
    history: list[dict[str, Any]] = []
    if isinstance(model, baselines.GRUD):
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
