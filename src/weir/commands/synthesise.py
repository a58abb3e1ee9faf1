"""`weir synthesise`: synthetic patients of a trained flow, as a MEDS folder."""

from __future__ import annotations

import argparse

from weir.artifacts.model_folder import read_card
from weir.errors import UserError
from weir.pipeline.layout import find_root
from weir.stages.restore import restore
from weir.tasks import part


def run(options: argparse.Namespace) -> None:
    """Restore the flow, and let the task write records for resampled training patients."""
    card = read_card(options.model)
    if card.task != "clinical":
        raise UserError(
            f"{options.model}: weir synthesise makes patients, and this model is of task "
            f"{card.task}; use `weir.load`"
        )
    model = restore(options.model)
    if not hasattr(model, "synthesise"):
        raise UserError(
            f"{options.model}: {card.section}/{card.name} makes no records; name a flow (stage2 "
            "`model: flow`, joint) or its student"
        )
    if options.steps is not None and options.steps < 1:
        raise UserError(f"--steps {options.steps}: take at least one step")
    if not options.output.parent.is_dir():
        raise UserError(f"--output {options.output}: there is no folder {options.output.parent}")
    data = part(card.task, "data.load").load(find_root() / "data" / "processed" / card.dataset)
    files = part(card.task, "prediction.cohort").write_cohort(
        model,
        data,
        options.output,
        records=options.records,
        steps=options.steps,
        seed=options.seed,
        label=f"{card.section}/{card.name}",
    )
    print(f"{options.output}: {len(files)} files of synthetic patients, as MEDS")
