"""Teacher: sample a trained flow on training conditions and store what it made, to be distilled."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from weir.artifacts.model_folder import read_card
from weir.distillation.pairs import knot_times, sample_pairs
from weir.errors import UserError
from weir.flows.solvers import EVALUATIONS
from weir.progress import Progress
from weir.stages.restore_flow import restore_flow
from weir.tasks import part
from weir.training.devices import default_device

if TYPE_CHECKING:
    from weir.artifacts.stage_paths import StagePaths
    from weir.settings.nodes import Teacher
    from weir.tracking.tracker import Tracker


def run(
    config: Teacher, paths: StagePaths, tracker: Tracker, *, name: str, task: str, seed: int
) -> None:
    """Integrate the flow from reproducible noise and write `output.npy`, `knots.npy`, `items.npy`.

    Axes are `[condition, draw, *event]`, knots `[condition, draw, knot, *event]`; the noise is not
    stored, since (seed, condition, draw) gives it again. A run that was killed goes on where it
    was.

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
    model = restore_flow(folder).to(default_device())
    conditions = model.queries(data.split("train").to(default_device()))
    count = min(config.conditions or len(conditions), len(conditions))
    items = torch.linspace(0, len(conditions) - 1, count).round().long()
    settings = config.model_dump(mode="json")
    tracker.log_params({**read_card(folder).lineage(), "teacher": settings})
    store = _Store(paths.checkpoints, count, config, model.event)
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
    store.finish(paths.output)
    np.save(paths.output / "items.npy", items.numpy())
    card = {
        "teacher": settings,
        "seed": seed,
        "times": knot_times(
            config.steps, config.knots, model.step_times(config.steps, config.solver)
        ).tolist(),
        "model": f"{read_card(folder).section}/{read_card(folder).name}",
    }
    text = json.dumps(card, indent=1, sort_keys=True)
    (paths.output / "config.json").write_text(text + "\n", encoding="utf-8")
    tracker.log_metrics({"teacher/conditions": count, "teacher/samples": count * config.draws})


class _Store:
    """Arrays on disk that are filled from the front, and how far."""

    def __init__(
        self, folder: Path, conditions: int, config: Teacher, event: tuple[int, ...]
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.record = folder / "done.json"
        self.done = json.loads(self.record.read_text()) if self.record.exists() else 0
        shapes = {
            "output": (conditions, config.draws, *event),
            "knots": (conditions, config.draws, config.knots, *event),
        }
        self.files = {name: folder / f"{name}.npy" for name in shapes}
        self.arrays = {
            name: np.lib.format.open_memmap(
                self.files[name], "r+" if self.done else "w+", np.float32, shape
            )
            for name, shape in shapes.items()
            if 0 not in shape
        }

    def add(self, output: torch.Tensor, knots: torch.Tensor) -> None:
        """Append conditions; what is recorded as done is on disk."""
        last = self.done + len(output)
        for name, values in (("output", output), ("knots", knots)):
            if name in self.arrays:
                self.arrays[name][self.done : last] = values.numpy()
                self.arrays[name].flush()
        self.done = last
        self.record.write_text(json.dumps(self.done))

    def finish(self, output: Path) -> None:
        """Move the arrays into the output folder."""
        for name in list(self.arrays):
            del self.arrays[name]
            self.files[name].rename(output / f"{name}.npy")
        self.record.unlink()
