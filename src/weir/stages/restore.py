"""Loading any trained model from its folder.

Loading a trained flow, apart from `restore` so that baselines are no part of what it imports.
"""

from __future__ import annotations

from pathlib import Path

from torch import nn

from weir.artifacts.model_folder import load_model, read_card
from weir.flows.model import FlowModel
from weir.tasks import part


def restore_flow(folder: Path) -> FlowModel:
    """The flow of a stage2 or joint folder, in evaluation mode.

    Raises:
        UserError: no model folder, or a damaged one.
    """
    card = read_card(folder)
    module = (
        part(card.task, "flow.stage2")
        if card.section == "stage2"
        else part(card.task, "flow.joint")
    )
    return load_model(folder, module.build)


def restore(folder: Path) -> nn.Module:
    """The model of a folder, in evaluation mode, whatever its section and task.

    Raises:
        UserError: no model folder, or a damaged one.
    """
    card = read_card(folder)
    match card.section:
        case "stage1":
            module = part(card.task, "representation.stage1")
        case "stage2":
            module = part(card.task, "flow.stage2")
        case "joint":
            module = part(card.task, "flow.joint")
        case "distill":
            module = part(card.task, "flow.student")
        case _:
            module = part(card.task, "baselines.baseline")
    return load_model(folder, module.build)
