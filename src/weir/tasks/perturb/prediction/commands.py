"""`weir predict`: what a trained model says of something that was not measured."""

from __future__ import annotations

import sys
from argparse import ArgumentParser
from pathlib import Path

from weir.errors import UserError
from weir.tasks.command import Asked, Command

SAMPLES = 1000
"""Cells made of the training data's control cells, if nothing is said."""

OF_A_FILE = ("obs", "layer", "gene_names", "fill_missing", "all_cells", "drop")
"""Options that say how to read `--cells`."""


def arguments(command: ArgumentParser) -> None:
    """Add what is asked, of which cells, and how a file of new ones is to be read."""
    command.add_argument("--perturb", required=True, help="NAME, NAME=DOSE, or several with '+'")
    command.add_argument("--context", help="cells of which context (default: of all)")
    command.add_argument("--samples", type=int, help=f"how many (default: {SAMPLES})")
    command.add_argument("--estimand", choices=("edit", "population"), help="default: the model's")
    command.add_argument("--steps", type=int, help="solver steps (default: the model's)")
    command.add_argument("--seed", type=int, default=0, help="of the cells (default: 0)")
    command.add_argument("--output", type=Path, required=True, help="the .h5ad to write")
    own = command.add_argument_group("your own cells", "instead of those the model was trained on")
    own.add_argument("--cells", type=Path, metavar="FILE", help=".h5ad with raw counts")
    own.add_argument(
        "--obs",
        action="append",
        default=[],
        metavar="SETTING=NAME",
        help="column of cell_type, batch, perturbation, ... if not the model's; may be repeated",
    )
    own.add_argument("--layer", help="where the counts lie: X, raw or a layer's name")
    own.add_argument("--gene-names", metavar="COLUMN", help="column of var with the genes' names")
    own.add_argument("--fill-missing", action="store_true", help="count missing genes as zero")
    own.add_argument("--all-cells", action="store_true", help="not only control cells")
    own.add_argument(
        "--drop",
        action="append",
        default=[],
        choices=("missing", "empty_cells"),
        help="leave such cells out instead of refusing the file; may be repeated",
    )


def predict(asked: Asked) -> None:
    """Write the prediction for known or for new cells.

    Raises:
        UserError: options that make no sense, alone or together.
    """
    options = asked.options
    if options.output.suffix != ".h5ad" or not options.output.parent.is_dir():
        raise UserError(f"--output {options.output}: name an .h5ad file in an existing folder")
    if options.steps is not None and options.steps < 1:
        raise UserError(f"--steps {options.steps}: take at least one step")
    if options.cells is None:
        print(_known_cells(asked))
        return
    *notes, done = _new_cells(asked)
    for note in notes:
        print(f"weir: note: {note}", file=sys.stderr)
    print(done)


def _known_cells(asked: Asked) -> str:
    """From control cells of the data that the model was trained on."""
    from weir.tasks.perturb.prediction.predict import predict

    options = asked.options
    for name in OF_A_FILE:
        if getattr(options, name):
            raise UserError(f"--{name.replace('_', '-')} says how to read --cells; pass that too")
    samples = SAMPLES if options.samples is None else options.samples
    if samples < 1:
        raise UserError(f"--samples {samples}: ask for at least one cell")
    data = asked.data()
    return predict(asked.model(), data, options.output, cells=samples, **_what(asked))


def _new_cells(asked: Asked) -> tuple[str, ...]:
    """From the cells of a file; neither training data nor params.yaml are needed."""
    from weir.tasks.perturb.prediction.predict_cells import predict_cells
    from weir.tasks.perturb.prediction.request import Request

    options = asked.options
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
    request = Request(
        obs,
        options.layer,
        options.gene_names,
        options.fill_missing,
        options.all_cells,
        tuple(options.drop),
    )
    return predict_cells(
        asked.model(),
        asked.schema(),
        options.cells,
        options.output,
        request=request,
        **_what(asked),
    )


def _what(asked: Asked) -> dict[str, object]:
    options = asked.options
    return {
        "name": asked.name,
        "perturb": options.perturb,
        "context": options.context,
        "estimand": options.estimand,
        "steps": options.steps,
        "seed": options.seed,
    }


COMMANDS = (
    Command("predict", "generate cells under a perturbation, as .h5ad", arguments, predict),
)
