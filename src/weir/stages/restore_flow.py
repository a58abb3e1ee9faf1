"""Loading a trained flow, apart from `restore` so that baselines are no part of what it imports."""

from __future__ import annotations

from pathlib import Path

from weir.flows.model import FlowModel
from weir.stages.model_folder import load_model, read_card
from weir.tasks import part


def restore_flow(folder: Path) -> FlowModel:
    """The flow of a stage2 or joint folder, in evaluation mode.

    Raises:
        UserError: no model folder, or a damaged one.
    """
    card = read_card(folder)
    module = part(card.task, "stage2") if card.section == "stage2" else part(card.task, "joint")
    return load_model(folder, module.build)
