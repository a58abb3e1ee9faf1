"""Stage 1: a representation is trained, such as a backbone or an autoencoder.

    weir stage1 river-itransformer

Fills `results/stage1/<run>/` with the model folder.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from weir.artifacts.model_folder import save_model
from weir.processes import leave_to_main_process
from weir.stages.restore import build_model
from weir.stages.train import card_of, train_and_save
from weir.tasks import part

if TYPE_CHECKING:
    from weir.artifacts.stage_paths import StagePaths
    from weir.tracking.tracker import Tracker


def run(
    config: Any, paths: StagePaths, tracker: Tracker, *, name: str, task: str, seed: int
) -> None:
    """Train the node's model on the dataset of `paths.inputs["data"]`.

    A model without an objective is complete once it is prepared.
    """
    data = part(task, "data.load").load(paths.inputs["data"])
    stage = part(task, "representation.stage1")
    card = card_of("stage1", name, task, seed, config, data)
    torch.manual_seed(seed)
    model = build_model(card)
    splits = data.split("train"), data.split("validation")
    stage.prepare(model, config, splits[0])
    objective = stage.objective(config, model)
    if objective is None:
        tracker.log_params({"stage1": card.config})
        leave_to_main_process()
        save_model(paths.output, model, card)
        return
    train_and_save(objective, splits, config.training, card, paths, tracker)
