"""`weir risk` and `weir synthesise`: risks of new patients, and patients that a model makes."""

from __future__ import annotations

import sys
import tempfile
from argparse import ArgumentParser
from pathlib import Path

from weir.errors import UserError
from weir.tasks.command import Asked, Command


def risk_arguments(command: ArgumentParser) -> None:
    """Add the patients, the times at which to predict, and where to write."""
    command.add_argument("meds", type=Path, help="MEDS folder; neither labels nor splits needed")
    command.add_argument(
        "--times", type=Path, required=True, help="Parquet file of subject_id, prediction_time"
    )
    command.add_argument("--output", type=Path, required=True, help="the .parquet to write")


def risk(asked: Asked) -> None:
    """Read patients that the model was not trained on, and write their risks.

    Raises:
        UserError: the output cannot be written, or there is no folder of patients.
    """
    from weir.tasks.clinical.prediction.risks import write_risks

    options = asked.options
    output: Path = options.output
    if output.suffix != ".parquet" or not output.parent.is_dir():
        raise UserError(f"--output {output}: name a .parquet file in an existing folder")
    if not options.meds.is_dir():
        raise UserError(f"{options.meds}: there is no such folder; name one of MEDS")
    model = asked.model()
    with tempfile.TemporaryDirectory(dir=output.parent, prefix=".weir-") as scratch:
        notes = write_risks(
            model,
            asked.name,
            asked.schema(),
            options.meds,
            options.times,
            output,
            Path(scratch),
        )
    for note in notes:
        print(f"weir: note: {note}", file=sys.stderr)
    print(output)


def synthesise_arguments(command: ArgumentParser) -> None:
    """Add how many patients, how they are drawn, and where to write."""
    command.add_argument("--records", type=int, help="how many (default: as the training has)")
    command.add_argument("--steps", type=int, help="solver steps (default: the model's)")
    command.add_argument("--seed", type=int, default=0, help="of the records (default: 0)")
    command.add_argument("--output", type=Path, required=True, help="the folder to write")


def synthesise(asked: Asked) -> None:
    """Write records of a flow for resampled training patients.

    Raises:
        UserError: the model makes none, or options that make no sense.
    """
    from weir.tasks.clinical.prediction.cohort import write_cohort

    options = asked.options
    model = asked.model()
    if not hasattr(model, "synthesise"):
        raise UserError(
            f"{options.model}: {asked.name} makes no records; name a flow (stage2 "
            "`model: flow`, joint) or its student"
        )
    if options.steps is not None and options.steps < 1:
        raise UserError(f"--steps {options.steps}: take at least one step")
    if not options.output.parent.is_dir():
        raise UserError(f"--output {options.output}: there is no folder {options.output.parent}")
    files = write_cohort(
        model,
        asked.data(),
        options.output,
        records=options.records,
        steps=options.steps,
        seed=options.seed,
        label=asked.name,
    )
    print(f"{options.output}: {len(files)} files of synthetic patients, as MEDS")


COMMANDS = (
    Command(
        "risk",
        "predict the outcome of a MEDS folder's patients",
        risk_arguments,
        risk,
        example="results/stage1/x-s0",
    ),
    Command(
        "synthesise",
        "make synthetic patients, as a MEDS folder",
        synthesise_arguments,
        synthesise,
    ),
)
