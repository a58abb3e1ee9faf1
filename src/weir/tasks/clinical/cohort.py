"""A synthetic cohort: records of a trained model for resampled patients, as a MEDS folder."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import torch

from weir.errors import UserError
from weir.tasks.clinical.export import export, refuse_filled
from weir.tasks.clinical.generate import join, resampled
from weir.training.progress import Progress

if TYPE_CHECKING:
    from weir.flows.solvers import SolverName
    from weir.tasks.clinical.data import ClinicalData
    from weir.tasks.clinical.flow import RecordFlow

ABOUT = {
    "told": "static features, outcomes and lengths are resampled real ones",
    "drawn": "static features and lengths are resampled real ones, outcomes are drawn by the "
    "model's risk",
}
"""What the metadata say of synthetic records, by how the model gives them outcomes."""


@torch.no_grad()
def write_cohort(
    model: RecordFlow,
    data: ClinicalData,
    folder: Path,
    *,
    records: int | None = None,
    steps: int | None = None,
    solver: SolverName | None = None,
    seed: int = 0,
    label: str = "synthetic records",
) -> list[str]:
    """Make records and write them.

    Static features, length and the outcome for which each is made are those of a training record,
    drawn with replacement: the events are made up, and the outcome too if the model draws it. Share
    the folder accordingly: a rare combination of static features may tell of a patient, whatever
    the events.

    Args:
        model: in evaluation mode, on the data's device.
        data: that it was trained on.
        folder: new or empty.
        records: how many; None for as many as there are training records.
        steps: solver steps, or jumps of a student.
        solver: solver of a teacher.
        seed: of everything drawn.
        label: what the progress display calls the work.

    Returns:
        names of the files.

    Raises:
        UserError: less than one record is wanted, or the folder holds something.
    """
    train = data.split("train")
    count = len(train) if records is None else records
    if count < 1:
        raise UserError(f"records: {count} is less than one; ask for at least one record")
    refuse_filled(folder)  # before the work, not only after it
    progress = Progress(label, count, noun="record")
    parts, done = [], 0
    for made in resampled(model, train, count, steps=steps, solver=solver, seed=seed):
        parts.append(made)
        done += len(made.outcome)
        progress.update(done)
    progress.close()
    about = f"a flow of {data.name}; {ABOUT[model.outcomes]}"
    return export(join(parts), data.schema, folder, about=about, seed=seed)
