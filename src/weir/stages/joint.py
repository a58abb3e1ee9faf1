"""Stage `joint`: both stages trained together; the flow's gradient reaches the representation.

    weir joint river-joint

Fills `results/joint/<run>/` with the model folder.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from weir.stages.restore import build_model
from weir.stages.train import card_of, train_and_save
from weir.tasks import part

if TYPE_CHECKING:
    from weir.artifacts.stage_paths import StagePaths
    from weir.tracking.tracker import Tracker


def run(
    config: Any, paths: StagePaths, tracker: Tracker, *, name: str, task: str, seed: int
) -> None:
    """Train the node's two-stage model on the dataset of `paths.inputs["data"]`."""
    data = part(task, "data.load").load(paths.inputs["data"])
    stage = part(task, "flow.joint")
    card = card_of("joint", name, task, seed, config, data)
    torch.manual_seed(seed)
    model = build_model(card)
    splits = data.split("train"), data.split("validation")
    stage.prepare(model, config, splits[0])
    train_and_save(stage.objective(config, model), splits, config.training, card, paths, tracker)
