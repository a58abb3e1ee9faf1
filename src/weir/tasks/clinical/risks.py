"""Risks of patients that a model was not trained on, as a Parquet file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import torch
from pydantic import TypeAdapter, ValidationError
from torch import nn

from weir.errors import UserError, WeirError
from weir.tasks.clinical.newcomers import read_newcomers
from weir.tasks.clinical.predictor import predicts_risk
from weir.tasks.clinical.schema import Schema
from weir.training.progress import Progress


@torch.no_grad()
def write_risks(
    model: nn.Module,
    name: str,
    schema: dict[str, Any],
    root: Path,
    times: Path,
    output: Path,
    scratch: Path,
) -> list[str]:
    """Write `subject_id`, `prediction_time` and `predicted_boolean_probability`.

    Args:
        model: in evaluation mode.
        name: its node, for messages.
        schema: of the data that it was trained on, from its card.
        root: a MEDS folder.
        times: Parquet file that says for whom and when, see `read_newcomers`.
        output: the file to write.
        scratch: empty folder beside it.

    Returns:
        notes for people.

    Raises:
        UserError: the model has no risk or is of an older Weir; or the data cannot be used.
        WeirError: a risk is not finite.
    """
    if not predicts_risk(model):
        raise UserError(
            f"{name} foretells no outcome; name a model with a head, or a baseline of the outcome"
        )
    try:
        known = TypeAdapter(Schema).validate_python(schema)
    except ValidationError:
        raise UserError(
            f"{name}: its folder does not say how records were cut; train it with this Weir"
        ) from None
    records, frame, notes = read_newcomers(root, times, known, scratch)
    progress = Progress(name, len(records), noun="record")
    parts = []
    for items, batch in records.all():
        parts.append(model.risk(batch).sigmoid())
        progress.update(int(items[-1]) + 1)
    progress.close()
    risk = torch.cat(parts)
    if bad := int((~risk.isfinite()).sum()):
        raise WeirError(f"{name}: {bad} of {len(risk)} risks are not finite")
    when = pa.array(frame["prediction_time"].to_numpy(), pa.timestamp("us"))
    table = pa.table(
        {
            "subject_id": frame["subject_id"].to_numpy(),
            "prediction_time": when,
            "predicted_boolean_probability": risk.double().numpy(),
        }
    )
    whole = scratch / output.name
    pq.write_table(table, whole)
    whole.replace(output)
    return notes
