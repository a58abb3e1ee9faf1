"""The table people come for: which settings of the whole lineage gave which score.

MLflow's run table shows no scores or settings until someone picks columns. It also keeps shared
views in tags of the experiment; ours selects the evaluations, their scores, and those settings in
which they differ.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from weir.tracking.meter import SYSTEM

if TYPE_CHECKING:
    from mlflow.tracking import MlflowClient

VIEW = "scores"
TAG = f"mlflow.sharedViewState.{VIEW}"
ONLY_EVALUATIONS = "tags.section = 'evaluate'"
MOST_SETTINGS, MOST_SCORES = 20, 20
MOST_RUNS = 1000


def view_address(experiment: str) -> str:
    """Address of the table below that of the server."""
    return f"#/experiments/{experiment}/runs?viewStateShareKey={VIEW}"


def update_view(client: MlflowClient, experiment: str, headlines: Mapping[str, str]) -> None:
    """Bring an experiment's table of scores up to date with its evaluations.

    Args:
        headlines: scores to sort by, the first that is there, and whether "lower" or "higher"
            values are better.
    """
    runs = client.search_runs([experiment], ONLY_EVALUATIONS, max_results=MOST_RUNS)
    names = dict.fromkeys(name for run in runs for name in run.data.metrics)
    scores = [name for name in names if not name.startswith(SYSTEM)]
    settings = differing(run.data.params for run in runs)
    client.set_experiment_tag(experiment, TAG, json.dumps(view_state(scores, settings, headlines)))
    note = f"[Table of scores]({view_address(experiment)}) with the settings that differ"
    client.set_experiment_tag(experiment, "mlflow.note.content", note)


def view_state(
    scores: list[str], settings: list[str], headlines: Mapping[str, str]
) -> dict[str, Any]:
    """State of MLflow's run table.

    Args:
        scores: names of metrics.
        settings: names of parameters.
        headlines: see `update_view`.
    """
    headline = next((name for name in headlines if name in scores), None)
    columns = [f"metrics.`{name}`" for name in scores[:MOST_SCORES]]
    columns += [f"params.`{name}`" for name in settings[:MOST_SETTINGS]]
    return {
        "searchFilter": ONLY_EVALUATIONS,
        "orderByKey": f"metrics.`{headline}`" if headline else "attributes.start_time",
        "orderByAsc": headline is not None and headlines[headline] == "lower",
        "startTime": "ALL",
        "lifecycleFilter": "Active",
        "datasetsFilter": [],
        "modelVersionFilter": "All Runs",
        "selectedColumns": [*columns, "tags.`seed`"],
        "runsExpanded": {},
        "runsPinned": [],
        "runsHidden": [],
        "runListHidden": False,
        "viewMaximized": False,
    }


def differing(settings: Iterable[Mapping[str, str]]) -> list[str]:
    """Names of settings that some have and others lack, or that have several values.

    >>> differing([{"a": "1", "b": "1"}, {"a": "2", "b": "1"}])
    ['a']
    """
    rows = list(settings)
    names = dict.fromkeys(name for row in rows for name in row)
    return [name for name in names if len({row.get(name) for row in rows}) > 1]
