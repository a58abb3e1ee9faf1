"""`weir risk`: what a trained model predicts of patients that it was not trained on."""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from weir.artifacts.model_folder import read_card
from weir.errors import UserError
from weir.stages.models import schema_of
from weir.stages.restore import restore
from weir.tasks import part


def run(options: argparse.Namespace) -> None:
    """Restore the model, and let the task read the patients and write their risks."""
    card = read_card(options.model)
    if card.task != "clinical":
        raise UserError(
            f"{options.model}: weir risk is of patients, and this model is of task {card.task}; "
            "use `weir.load`"
        )
    output: Path = options.output
    if output.suffix != ".parquet" or not output.parent.is_dir():
        raise UserError(f"--output {output}: name a .parquet file in an existing folder")
    if not options.meds.is_dir():
        raise UserError(f"{options.meds}: there is no such folder; name one of MEDS")
    model = restore(options.model)
    with tempfile.TemporaryDirectory(dir=output.parent, prefix=".weir-") as scratch:
        notes = part(card.task, "prediction.risks").write_risks(
            model,
            f"{card.section}/{card.name}",
            schema_of(card),
            options.meds,
            options.times,
            output,
            Path(scratch),
        )
    for note in notes:
        print(f"weir: note: {note}", file=sys.stderr)
    print(output)
