"""The best student of each data set, by name: model `<dataset>`, alias `champion`."""

from __future__ import annotations

import json
import math
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mlflow.entities.model_registry import ModelVersion
    from mlflow.tracking import MlflowClient

ALIAS = "champion"


def register_champion(
    client: MlflowClient,
    dataset: str,
    run_id: str,
    folder: str,
    metric: str,
    value: float,
    *,
    data_digest: str = "",
    md5: str = "",
    commit: str = "",
    higher_is_better: bool = False,
) -> bool:
    """Make a model the champion of its data set if its score beats the present one's.

    The registry holds a pointer (the folder, DVC's md5 of its content, the commit, the score), not
    the weights: the folder's content changes with the next training, the md5 says which is meant.
    Scores on other data or by another metric are not comparable: then the newcomer takes over.

    Args:
        run_id: run that evaluated the model.
        folder: model folder, relative to the repository.
        data_digest: identity of the data that the score was taken on.
        md5: DVC's md5 of the folder.
        commit: commit of the code that evaluated it.

    Returns:
        Whether `folder` is now champion. A score that is not finite never is.
    """
    from mlflow.exceptions import MlflowException

    if not math.isfinite(value):
        return False
    try:
        client.create_registered_model(dataset, description=f"Best student of {dataset}")
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
    present = _champion(client, dataset)
    if present is not None:
        if present.run_id == run_id:
            return True
        same = (present.tags.get("metric"), present.tags.get("data")) == (metric, data_digest)
        best = float(present.tags.get("value", "nan"))
        if same and (value <= best if higher_is_better else value >= best):
            return False
    known = {v.run_id: v for v in client.search_model_versions(f"name = '{dataset}'")}
    version = known.get(run_id)
    if version is None:
        tags = {
            "metric": metric,
            "value": repr(value),
            "data": data_digest,
            "folder": folder,
            "md5": md5,
            "commit": commit,
        }
        source = _pointer(client, run_id, tags)
        version = client.create_model_version(dataset, source, run_id, tags=tags)
    client.set_registered_model_alias(dataset, ALIAS, version.version)
    return True


@dataclass(frozen=True)
class Champion:
    """What the registry says of a data set's best student.

    Attributes:
        md5: DVC's, of the content of `folder`.
        commit: commit of the code that evaluated it; empty outside of git.
    """

    dataset: str
    folder: str
    metric: str
    value: str
    md5: str
    commit: str


def champions(client: MlflowClient) -> list[Champion]:
    """The champion of each data set."""
    found = []
    for model in client.search_registered_models():
        if ALIAS in model.aliases:
            tags = client.get_model_version(model.name, model.aliases[ALIAS]).tags
            kept = ("folder", "metric", "value", "md5", "commit")
            found.append(Champion(model.name, *(tags.get(name, "") for name in kept)))
    return found


def _champion(client: MlflowClient, dataset: str) -> ModelVersion | None:
    """Version that holds the alias."""
    aliases = client.get_registered_model(dataset).aliases
    return client.get_model_version(dataset, aliases[ALIAS]) if ALIAS in aliases else None


def _pointer(client: MlflowClient, run_id: str, content: dict[str, str]) -> str:
    """Leave a pointer among the run's artifacts, which is where MLflow lets a version come from."""
    with tempfile.TemporaryDirectory() as scratch:
        file = Path(scratch) / "pointer.json"
        file.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
        client.log_artifact(run_id, str(file), "model")
    return f"{client.get_run(run_id).info.artifact_uri}/model"
