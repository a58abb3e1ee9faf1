"""Stage `teacher`: samples of a trained flow on training conditions, stored to be distilled.

    weir teacher river-flow

Fills `results/teacher/<run>/` with the samples, as `.npy` files.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from weir.artifacts.model_folder import read_card
from weir.artifacts.teacher_folder import TeacherCard, TeacherWriter
from weir.distillation.pairs import knot_times, sample_pairs
from weir.errors import UserError
from weir.flows.solvers import EVALUATIONS
from weir.progress import Progress
from weir.stages.restore import restore
from weir.tasks import part
from weir.training.devices import default_device

if TYPE_CHECKING:
    from weir.artifacts.stage_paths import StagePaths
    from weir.settings.nodes import Teacher
    from weir.tracking.tracker import Tracker


def run(
    config: Teacher, paths: StagePaths, tracker: Tracker, *, name: str, task: str, seed: int
) -> None:
    """Integrate the flow from reproducible noise into a teacher folder.

    A run that was killed goes on where it was.

    Raises:
        UserError: the solver's steps are not fixed.
    """
    folder = paths.inputs["upstream"]
    if config.solver not in EVALUATIONS:
        raise UserError(
            f"teacher.{name}.solver: {config.solver} chooses its own steps, so that a path has no "
            f"fixed points to store; choose {', '.join(EVALUATIONS)}"
        )
    data = part(task, "data.load").load(paths.inputs["data"])
    model = restore(folder).to(default_device())
    conditions = model.queries(data.split("train").to(default_device()))
    count = min(config.conditions or len(conditions), len(conditions))
    items = torch.linspace(0, len(conditions) - 1, count).round().long()
    settings = config.model_dump(mode="json")
    tracker.log_params({**read_card(folder).lineage(), "teacher": settings})
    store = TeacherWriter(paths.checkpoints, count, config.draws, config.knots, model.event)
    progress = Progress(f"teacher {name} seed {seed}", count, done=store.done, noun="condition")
    for pairs in sample_pairs(
        model,
        conditions,
        items[store.done :],
        draws=config.draws,
        seed=seed,
        steps=config.steps,
        solver=config.solver,
        knots=config.knots,
    ):
        store.add(pairs.output, pairs.knots)
        progress.update(store.done)
    progress.close()
    times = knot_times(config.steps, config.knots, model.step_times(config.steps, config.solver))
    card = read_card(folder)
    store.finish(
        paths.output,
        items,
        TeacherCard(settings, seed, tuple(times.tolist()), f"{card.section}/{card.name}"),
    )
    tracker.log_metrics({"teacher/conditions": count, "teacher/samples": count * config.draws})
