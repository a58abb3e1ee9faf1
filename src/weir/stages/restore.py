"""Loading any trained model from its folder."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

from torch import nn

from weir.artifacts.model_folder import ModelCard, load_model
from weir.stages import models
from weir.tasks import part


def build_model(card: ModelCard) -> nn.Module:
    """The untrained model of a card, whatever its section and task; see `models.build`."""
    return models.build(card, _door)


def restore(folder: Path) -> nn.Module:
    """The model of a folder, in evaluation mode, whatever its section and task.

    Raises:
        UserError: no model folder, a damaged one, or one of another version of Weir.
    """
    return load_model(folder, build_model)


def _door(card: ModelCard) -> ModuleType:
    match card.section:
        case "stage1":
            return part(card.task, "representation.stage1")
        case "stage2":
            return part(card.task, "flow.stage2")
        case "joint":
            return part(card.task, "flow.joint")
        case _:
            return part(card.task, "baselines.baseline")
