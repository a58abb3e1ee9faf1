"""Stage `evaluate`: scores of one model on every item of a split, and what a report shows of it.

    weir evaluate river-onestep

Fills `results/evaluate/<run>/` with `metrics.json`, `curve.csv` and the folder `details`.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pandas as pd
import torch

from weir.artifacts.model_folder import ModelCard, read_card
from weir.errors import WeirError
from weir.stage_table import STAGES
from weir.stages.restore import restore
from weir.tasks import part
from weir.training.devices import default_device

if TYPE_CHECKING:
    from weir.artifacts.stage_paths import StagePaths
    from weir.settings.nodes import Evaluate
    from weir.tracking.tracker import Tracker

CURVE = "curve.csv"
"""Table that `dvc plots` draws; the task's config says how."""


def run(
    config: Evaluate, paths: StagePaths, tracker: Tracker, *, name: str, task: str, seed: int
) -> None:
    """Write `metrics.json`, `curve.csv` and the folder `details` with all a report needs.

    Raises:
        WeirError: the task wrote no curve.
    """
    folder = paths.inputs["upstream"]
    card = read_card(folder)
    data = part(task, "data.load").load(paths.inputs["data"]).to(default_device())
    model = restore(folder).to(default_device())
    tracker.log_params({**card.lineage(), "evaluate": config.model_dump(mode="json")})
    details = paths.output / "details"
    details.mkdir()
    torch.manual_seed(seed)
    label = f"evaluate {paths.key}"
    result = part(task, "evaluation.evaluate").evaluate(
        model, data, config, details, seed=seed, label=label
    )
    if not (paths.output / CURVE).exists():
        raise WeirError(f"{label}: the evaluation of task {task} wrote no {CURVE}")
    document = {
        "name": paths.key,
        "node": name,
        "seed": seed if paths.key.endswith(f"-s{seed}") else None,
        "fold": card.schema.get("fold"),
        "task": task,
        "dataset": dataset(card),
        "kind": kind(card),
        "label": config.label or name,
        "model": config.model,
        "lineage": {**card.lineage(), "evaluate": config.model_dump(mode="json")},
        **result,
    }
    _write(details / "evaluation.json", document)
    if (history := folder / "history.csv").exists():
        pd.read_csv(history).to_parquet(details / "losses.parquet", index=False)
    _write(paths.output / "metrics.json", result["metrics"])
    tracker.log_metrics(result["metrics"])
    if card.section == "distill":
        headline = result["headline"]
        tracker.propose_champion(
            card.dataset,
            folder.relative_to(paths.root),
            headline,
            result["metrics"][headline],
            higher_is_better=result["definitions"][headline]["better"] == "higher",
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


def _write(path: Any, content: Any) -> None:
    text = json.dumps(content, indent=1, sort_keys=True, allow_nan=False)
    path.write_text(text + "\n", encoding="utf-8")
