"""What a task found, stored as the evaluate stage does."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from weir.artifacts.evaluation import Evaluation, Scored, load_evaluation, save_evaluation

IDENTITY = {
    "name": "a", "node": "a", "seed": 0, "task": "t", "dataset": "d", "label": "a", "kind": "stage1"
}  # fmt: skip


def stored(scored: Scored, output: Path, **identity: Any) -> dict[str, Any]:
    """The contents of `evaluation.json`, written into an existing folder and read from it."""
    evaluation = Evaluation.of(scored, **(IDENTITY | identity))
    save_evaluation(output, evaluation, scored)
    load_evaluation(output / "details")
    return evaluation.document()
