"""The scores that documents may quote: `docs/scores/<preset>.json`, of `weir scores update`."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from typing import Any

from weir.artifacts.evaluation import Evaluation
from weir.errors import WeirError
from weir.report.entries import Entry, entries


def scores(
    evaluations: Sequence[Evaluation],
    preset: str,
    *,
    command: str,
    commit: str,
    hardware: str,
    wall_s: float,
) -> dict[str, Any]:
    """One document for the evaluations of one data set.

    Means and standard deviations are over the `seeds`, in each of which a score is pooled over the
    `folds`, the held-out groups (1 where there are none); `std_folds` is over these. A single seed
    has no standard deviation (null), and a number that some run lacks is null as well. `protocol`
    keeps what all evaluations agree on.

    Raises:
        WeirError: there is no evaluation, or there are several data sets.
    """
    datasets = sorted({(evaluation.task, evaluation.dataset) for evaluation in evaluations})
    if len(datasets) != 1:
        names = ", ".join(dataset for _, dataset in datasets) or "none"
        raise WeirError(f"scores of {preset}: one data set is needed, not {names}")
    (task, dataset) = datasets[0]
    return {
        "preset": preset,
        "task": task,
        "dataset": dataset,
        "command": command,
        "commit": commit,
        "hardware": hardware,
        "wall_s": _plain(wall_s),
        "protocol": shared_protocol(evaluations),
        "models": [_model(row) for row in entries(evaluations)],
    }


def scores_text(document: dict[str, Any]) -> str:
    """The document as the file holds it."""
    return json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def shared_protocol(evaluations: Sequence[Evaluation]) -> dict[str, Any]:
    """The settings of evaluation that every run has in common."""
    first = evaluations[0].protocol
    return {
        key: value
        for key, value in first.items()
        if all(evaluation.protocol.get(key, _ABSENT) == value for evaluation in evaluations)
    }


_ABSENT = object()


def _model(row: Entry) -> dict[str, Any]:
    metrics = dict.fromkeys(metric for run in row.runs for metric in run.metrics)
    return {
        "name": row.node,
        "kind": row.kind,
        "nfe": row.nfe,
        "seeds": row.seeds,
        "folds": max(len(row.folds), 1),
        "metrics": {metric: _numbers(row, metric) for metric in metrics},
    }


def _numbers(row: Entry, metric: str) -> dict[str, float | None]:
    found = row.statistic(metric)
    numbers = {"mean": _plain(found.mean), "std": _plain(found.std)}
    if len(row.folds) > 1:
        numbers["std_folds"] = _plain(row.across(metric))
    return numbers


def _plain(value: float) -> float | None:
    """Six significant digits, so that the file is fit to read; null for no number."""
    return float(f"{value:.6g}") if math.isfinite(value) else None
