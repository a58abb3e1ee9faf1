"""Loading any trained model from its folder."""

from __future__ import annotations

from pathlib import Path

from torch import nn

from weir.stages.model_folder import load_model, read_card
from weir.tasks import part


def restore(folder: Path) -> nn.Module:
    """The model of a folder, in evaluation mode, whatever its section and task.

    Raises:
        UserError: no model folder, or a damaged one.
    """
    card = read_card(folder)
    match card.section:
        case "stage1":
            module = part(card.task, "stage1")
        case "stage2":
            module = part(card.task, "stage2")
        case "joint":
            module = part(card.task, "joint")
        case "distill":
            module = part(card.task, "student")
        case _:
            module = part(card.task, "baseline")
    return load_model(folder, module.build)
