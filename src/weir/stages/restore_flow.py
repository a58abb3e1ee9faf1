"""Loading a trained flow, apart from `restore` so that baselines are no part of what it imports."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

from weir.artifacts.model_folder import ModelCard
from weir.flows.model import FlowModel
from weir.stages import models
from weir.tasks import part


def restore_flow(folder: Path) -> FlowModel:
    """The flow of a stage2 or joint folder, in evaluation mode.

    Raises:
        UserError: no model folder, a damaged one, or one of another version of Weir.
    """
    return models.load(folder, _door)


def _door(card: ModelCard) -> ModuleType:
    match card.section:
        case "stage1":
            return part(card.task, "representation.stage1")
        case "stage2":
            return part(card.task, "flow.stage2")
        case _:
            return part(card.task, "flow.joint")
