"""Stage `evaluate`: scores of one model on every item of a split, and what a report shows of it.

    weir evaluate river-onestep

Fills `results/evaluate/<run>/` with `metrics.json`, `curve.csv` and the folder `details`.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pandas as pd
import torch

from weir.artifacts.evaluation import Evaluation, save_evaluation
from weir.artifacts.model_folder import ModelCard, read_card
from weir.stage_table import STAGES
from weir.stages.restore import restore
from weir.tasks import part
from weir.training.devices import default_device

if TYPE_CHECKING:
    from weir.artifacts.stage_paths import StagePaths
    from weir.settings.nodes import Evaluate
    from weir.tracking.tracker import Tracker


def run(
    config: Evaluate, paths: StagePaths, tracker: Tracker, *, name: str, task: str, seed: int
) -> None:
    """Write `metrics.json`, `curve.csv` and the folder `details` with all a report needs.

    Raises:
        WeirError: what the task found is not whole.
    """
    folder = paths.inputs["upstream"]
    card = read_card(folder)
    data = part(task, "data.load").load(paths.inputs["data"]).to(default_device())
    model = restore(folder).to(default_device())
    tracker.log_params({**card.lineage(), "evaluate": config.model_dump(mode="json")})
    torch.manual_seed(seed)
    label = f"evaluate {paths.key}"
    scored = part(task, "evaluation.evaluate").evaluate(model, data, config, seed=seed, label=label)
    evaluation = Evaluation.of(
        scored,
        name=paths.key,
        node=name,
        seed=seed if paths.key.endswith(f"-s{seed}") else None,
        fold=card.schema.get("fold"),
        task=task,
        dataset=dataset(card),
        kind=kind(card),
        label=config.label or name,
        model=config.model,
        lineage={**card.lineage(), "evaluate": config.model_dump(mode="json")},
    )
    if (history := folder / "history.csv").exists():
        losses = {"losses": pd.read_csv(history)}
        evaluation = replace(evaluation, tables={**scored.tables, **losses})
    save_evaluation(paths.output, evaluation, scored)
    paths.times.update(evaluation.times())
    tracker.log_metrics(scored.metrics)
    if card.section == "distill":
        headline = scored.headline
        tracker.propose_champion(
            card.dataset,
            folder.relative_to(paths.root),
            headline,
            scored.metrics[headline],
            higher_is_better=scored.definitions[headline].better == "higher",
        )


def dataset(card: ModelCard) -> str:
    """The dataset node at the head of a model's chain; the card's own name is that of one fold."""
    named = (config.get("dataset") for config in card.lineage().values())
    return next((name for name in named if name), card.dataset)


def kind(card: ModelCard) -> str:
    """What a model counts as: of the baselines some are ceilings."""
    if (
        card.section == "baseline"
        and card.config.get("method") in part(card.task, "about").CEILINGS
    ):
        return "ceiling"
    return STAGES[card.section].kind
