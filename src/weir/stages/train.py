"""Training of a stage's model: run the loop on a data set's splits and save the model."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from weir.artifacts.model_folder import ModelCard, save_model
from weir.processes import leave_to_main_process
from weir.training.loop import train

if TYPE_CHECKING:
    from weir.artifacts.stage_paths import StagePaths
    from weir.settings.training import Training
    from weir.tracking.tracker import Tracker
    from weir.training.objective import DataSet, Objective


def train_and_save(
    objective: Objective,
    splits: tuple[DataSet, DataSet | None],
    settings: Training,
    card: ModelCard,
    paths: StagePaths,
    tracker: Tracker,
) -> None:
    """Train `objective.model` on `(training, validation)` items and write its model folder.

    Args:
        card: what the model is; names the run in progress lines.
    """
    tracker.log_params({card.section: card.config})
    result = train(
        objective,
        splits[0],
        splits[1],
        settings,
        seed=card.seed,
        checkpoints=paths.checkpoints,
        log=tracker.log_metrics,
        label=f"{card.section} {card.name} seed {card.seed}",
    )
    leave_to_main_process()
    save_model(paths.output, objective.model, card, result.history)
    tracker.log_metrics(
        {"train/seconds": result.seconds, "train/best_step": result.best_step}, result.steps
    )


def card_of(
    section: str, name: str, task: str, seed: int, config: Any, data: Any, **more: Any
) -> ModelCard:
    """The card of a model trained on `data` with the settings of its node."""
    return ModelCard(
        section=section,
        name=name,
        seed=seed,
        task=task,
        dataset=data.name,
        config=config.model_dump(mode="json"),
        schema=data.card(),
        **more,
    )
