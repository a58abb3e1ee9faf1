"""The law of simulated records: the known risk of each, and its latent severity.

`risk` is `P(outcome | the latent severity path)`: the outcome was drawn by it, so that no score
does better on average. Who sees the events only cannot quite reach it, since they tell the
severity with errors; the best that these can do is `filtered_risk`, `P(outcome | static features
and events)`, known for held-out records up to the Monte Carlo error of a particle filter. That
filter is told which values are artefacts; if there are any, it too is a little above what can be
reached.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from torch import Tensor

from weir.errors import UserError
from weir.tasks.clinical.data.schema import LAW

FILE, RISKS, SEVERITY = LAW
RECORDS = "records.parquet"
KEYS = ["subject_id", "prediction_time"]


@dataclass(frozen=True)
class Ceiling:
    """What the true risk attains on average over the population.

    Attributes:
        auroc: area under the ROC curve.
        auprc: average precision.
    """

    auroc: float
    auprc: float


@dataclass(frozen=True)
class Law:
    """What is known of simulated records, in the order of the processed table of records.

    `law.risk[data.split("test").rows]` are the risks of a part.

    Attributes:
        risk: `[record]` float64, `P(outcome | latent severity path)`.
        filtered_risk: `[record]` float64, `P(outcome | static features and events)`; NaN where it
            was not computed (all but held-out records).
        severity: `[record, step]` float32, from admission to the prediction.
        step_hours: width of a step; the record's first event is at the admission.
        ceiling: of `risk`, over the population that the law was adjusted to.
    """

    risk: Tensor
    filtered_risk: Tensor
    severity: Tensor
    step_hours: float
    ceiling: Ceiling


def load(folder: Path) -> Law:
    """The law in a processed or raw folder; in a raw one, in order of subject and prediction.

    Raises:
        UserError: the folder's records are not simulated, or a file is damaged; one line.
    """
    if not (folder / FILE).exists():
        raise UserError(
            f"no {folder / FILE}: the risk is known only of a simulated dataset; remove the node "
            "or set `source: {simulator: {}}`"
        )
    try:
        told = json.loads((folder / FILE).read_bytes())
        frame = pq.read_table(folder / RISKS).to_pandas()
        severity = np.load(folder / SEVERITY)
        if len(severity) != len(frame):
            raise ValueError(f"{SEVERITY} has {len(severity)} rows, {RISKS} {len(frame)}")
        rows = np.arange(len(frame))
        if (folder / RECORDS).exists():
            rows = _rows(frame, pq.read_table(folder / RECORDS, columns=KEYS).to_pandas())
        return Law(
            torch.from_numpy(frame["risk"].to_numpy("float64")[rows]),
            torch.from_numpy(frame["filtered_risk"].to_numpy("float64")[rows]),
            torch.from_numpy(severity[rows]),
            float(told["step_hours"]),
            Ceiling(**told["ceiling"]),
        )
    except (OSError, EOFError, ValueError, LookupError, TypeError, pa.ArrowException) as error:
        text = str(error).splitlines()[0]
        raise UserError(f"{folder / FILE} is damaged ({text}); rerun weir preprocess") from None


def save(
    folder: Path, law: Law, subject_id: np.ndarray, prediction: np.ndarray, settings: dict[str, Any]
) -> list[str]:
    """Write the law of records into a raw folder; returns the names of the files.

    Args:
        subject_id: `[record]` int64, ascending.
        prediction: `[record]` int64, microseconds since 1970.
        settings: how they were simulated, for people.
    """
    told = {"step_hours": law.step_hours, "ceiling": asdict(law.ceiling), "simulator": settings}
    (folder / FILE).write_text(json.dumps(told, indent=1) + "\n")
    columns = {
        "subject_id": subject_id,
        "prediction_time": prediction,
        "risk": law.risk.numpy(),
        "filtered_risk": law.filtered_risk.numpy(),
    }
    pq.write_table(pa.table(columns), folder / RISKS)
    np.save(folder / SEVERITY, law.severity.numpy())
    return list(LAW)


def ceiling(risk: np.ndarray) -> Ceiling:
    """Expected AUROC and average precision of outcomes that are drawn by the very risk.

    Each patient counts as `risk` of one with the outcome and `1 - risk` of one without. By the
    lemma of Neyman and Pearson no other score ranks better on average.
    """
    ordered = np.sort(risk)[::-1]
    hits, misses = ordered.cumsum(), (1 - ordered).cumsum()
    above = misses - (1 - ordered) / 2
    auroc = 1 - (ordered * above).sum() / (hits[-1] * misses[-1])
    auprc = (ordered * hits / (hits + misses)).sum() / hits[-1]
    return Ceiling(float(auroc), float(auprc))


def _rows(law: pd.DataFrame, records: pd.DataFrame) -> np.ndarray:
    """Row of the law of each processed record, `[record]` int64."""
    place = pd.MultiIndex.from_frame(law[KEYS]).get_indexer(pd.MultiIndex.from_frame(records))
    if (place < 0).any():
        subject = records["subject_id"].iloc[int((place < 0).argmax())]
        raise ValueError(f"it lacks subject {subject}")
    return place
