"""`weir predict`: what a trained model says of something that was not measured."""

from __future__ import annotations

import argparse
import sys

from weir.artifacts.model_folder import ModelCard, read_card
from weir.errors import UserError
from weir.pipeline.layout import find_root
from weir.stages.models import schema_of
from weir.stages.restore import restore
from weir.tasks import part

SAMPLES = 1000
"""Cells made of the training data's control cells, if nothing is said."""

OF_A_FILE = ("obs", "layer", "gene_names", "fill_missing", "all_cells", "drop")
"""Options that say how to read `--cells`."""


def run(options: argparse.Namespace) -> None:
    """Restore the model, and let the task write its prediction for known or for new cells."""
    card = read_card(options.model)
    if card.task != "perturb":
        raise UserError(
            f"{options.model}: weir predict knows task perturb; use `weir.load` for {card.task}"
        )
    if options.output.suffix != ".h5ad" or not options.output.parent.is_dir():
        raise UserError(f"--output {options.output}: name an .h5ad file in an existing folder")
    if options.steps is not None and options.steps < 1:
        raise UserError(f"--steps {options.steps}: take at least one step")
    if options.cells is None:
        print(_known_cells(card, options))
        return
    *notes, done = _new_cells(card, options)
    for note in notes:
        print(f"weir: note: {note}", file=sys.stderr)
    print(done)


def _known_cells(card: ModelCard, options: argparse.Namespace) -> str:
    """From control cells of the data that the model was trained on."""
    for name in OF_A_FILE:
        if getattr(options, name):
            raise UserError(f"--{name.replace('_', '-')} says how to read --cells; pass that too")
    samples = SAMPLES if options.samples is None else options.samples
    if samples < 1:
        raise UserError(f"--samples {samples}: ask for at least one cell")
    data = part(card.task, "data.load").load(find_root() / "data" / "processed" / card.dataset)
    return part(card.task, "prediction.predict").predict(
        restore(options.model), data, options.output, cells=samples, **_asked(card, options)
    )


def _new_cells(card: ModelCard, options: argparse.Namespace) -> tuple[str, ...]:
    """From the cells of a file; neither training data nor params.yaml are needed."""
    if options.samples is not None:
        raise UserError("--samples: each cell of --cells is answered once; leave one of them out")
    if options.output.exists() and options.output.samefile(options.cells):
        raise UserError(f"--output {options.output}: that is the file of --cells; name another")
    obs = {}
    for word in options.obs:
        role, equals, name = word.partition("=")
        if not equals:
            raise UserError(f"--obs {word}: write SETTING=NAME, such as cell_type=label")
        obs[role.strip()] = name.strip()
    request = part(card.task, "prediction.request").Request(
        obs,
        options.layer,
        options.gene_names,
        options.fill_missing,
        options.all_cells,
        tuple(options.drop),
    )
    return part(card.task, "prediction.predict_cells").predict_cells(
        restore(options.model),
        schema_of(card),
        options.cells,
        options.output,
        request=request,
        **_asked(card, options),
    )


def _asked(card: ModelCard, options: argparse.Namespace) -> dict[str, object]:
    return {
        "name": f"{card.section}/{card.name}",
        "perturb": options.perturb,
        "context": options.context,
        "estimand": options.estimand,
        "steps": options.steps,
        "seed": options.seed,
    }
