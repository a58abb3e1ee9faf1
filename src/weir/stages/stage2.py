"""Stage 2: a flow or diffusion is trained on a frozen stage-1 model.

    weir stage2 river-flow

Fills `results/stage2/<run>/` with the model folder.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import torch

from weir.artifacts.model_folder import read_card
from weir.stages.restore import build_model, restore
from weir.stages.train import card_of, train_and_save
from weir.tasks import part

if TYPE_CHECKING:
    from weir.artifacts.stage_paths import StagePaths
    from weir.tracking.tracker import Tracker


def run(
    config: Any, paths: StagePaths, tracker: Tracker, *, name: str, task: str, seed: int
) -> None:
    """Train the node's flow on the model of `paths.inputs["upstream"]`."""
    data = part(task, "data.load").load(paths.inputs["data"])
    stage = part(task, "flow.stage2")
    stage1 = restore(paths.inputs["upstream"])
    upstream = asdict(read_card(paths.inputs["upstream"]))
    card = card_of("stage2", name, task, seed, config, data, upstream=upstream)
    torch.manual_seed(seed)
    model = build_model(card)
    training, validation = data.split("train"), data.split("validation")
    stage.prepare(model, config, training, stage1)
    splits = model.items(training, seed), model.items(validation, seed)
    train_and_save(stage.objective(config, model), splits, config.training, card, paths, tracker)
