"""Stage `baseline`: simple models that the two-stage ones have to beat, and the oracle's ceiling.

    weir baseline river-naive

Fills `results/baseline/<run>/` with the model folder.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import torch

from weir.artifacts.model_folder import read_card, save_model
from weir.processes import leave_to_main_process
from weir.stages.restore import build_model, restore
from weir.stages.train import card_of
from weir.tasks import part

if TYPE_CHECKING:
    from weir.artifacts.stage_paths import StagePaths
    from weir.tracking.tracker import Tracker


def run(
    config: Any, paths: StagePaths, tracker: Tracker, *, name: str, task: str, seed: int
) -> None:
    """Fit the node's baseline on the dataset, and on a trained model if it names one."""
    data = part(task, "data.load").load(paths.inputs["data"])
    folder = paths.inputs.get("upstream")
    baseline = part(task, "baselines.baseline")
    below = restore(folder) if folder else None
    upstream = asdict(read_card(folder)) if folder else None
    card = card_of("baseline", name, task, seed, config, data, upstream=upstream)
    tracker.log_params({"baseline": card.config})
    torch.manual_seed(seed)
    model = build_model(card)
    history = baseline.fit(
        model,
        config,
        data,
        below,
        seed=seed,
        checkpoints=paths.checkpoints,
        log=tracker.log_metrics,
    )
    leave_to_main_process()
    save_model(paths.output, model, card, history)
