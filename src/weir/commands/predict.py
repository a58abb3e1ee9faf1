"""`weir predict`: what a trained model says of something that was not measured."""

from __future__ import annotations

import argparse

from weir.errors import UserError
from weir.pipeline.layout import find_root
from weir.stages.model_folder import read_card
from weir.stages.restore import restore
from weir.tasks import part


def run(options: argparse.Namespace) -> None:
    """Restore the model and its data, and let the task write its prediction."""
    card = read_card(options.model)
    if card.task != "perturb":
        raise UserError(
            f"{options.model}: weir predict knows task perturb; use `weir.load` for {card.task}"
        )
    if options.cells < 1:
        raise UserError(f"--cells {options.cells}: ask for at least one cell")
    if options.output.suffix != ".h5ad" or not options.output.parent.is_dir():
        raise UserError(f"--output {options.output}: name an .h5ad file in an existing folder")
    data = part(card.task, "data").load(find_root() / "data" / "processed" / card.dataset)
    print(
        part(card.task, "predict").predict(
            restore(options.model),
            data,
            options.output,
            name=f"{card.section}/{card.name}",
            perturb=options.perturb,
            context=options.context,
            cells=options.cells,
            estimand=options.estimand,
            steps=options.steps,
            seed=options.seed,
        )
    )
