"""Evaluating a clinical model for the report: each thing that it can do is scored on its own.

| a model that | is scored by | in |
|---|---|---|
| predicts the outcome (`risk`) | its risks | `risk_quality` |
| encodes sets of events (stage 1) | its latents and what it gives back | `representation_quality` |
| fills in what is hidden (`fill`) | imputation and forecasts | `fill_quality` |
| makes patients (`synthesise`) | how they do in the place of real ones | `synthetic_quality` |

Each module has one function that writes its tables into `details` and returns `metrics`,
`protocol`, `seconds` and `latency_ms`.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
from torch import nn

from weir.errors import UserError
from weir.tasks.clinical.baselines.constants import Fitted, predicts_risk
from weir.tasks.clinical.baselines.stacked import Stacked
from weir.tasks.clinical.evaluation.definitions import (
    DEFINITIONS,
    ENCODING,
    FILLING,
    HEADLINES,
    RISK,
    SYNTHETIC,
)
from weir.tasks.clinical.evaluation.risks import evaluate_risks

if TYPE_CHECKING:
    from weir.tasks.clinical.data.load import ClinicalData
    from weir.tasks.clinical.settings.scoring import ClinicalEvaluate

CURVE = "curve.csv"


def evaluate(
    model: nn.Module,
    data: ClinicalData,
    config: ClinicalEvaluate,
    details: Path,
    *,
    seed: int,
    label: str,
) -> dict[str, Any]:
    """Score `model` on every record of the split; tables go into `details`.

    Args:
        model: see the table above; what it can do is told by its methods.
        data: on the device of the model.
        config: the evaluate node.
        details: existing folder; `curve.csv` goes beside it.
        seed: of resamples and samples.
        label: names the progress line.

    Returns:
        the task's part of `evaluation.json`: metrics, definitions, protocol, nfe, latency, curve.

    Raises:
        UserError: the split has nothing to score on, or the model does nothing that is scored.
        WeirError: a prediction is NaN or infinite.
    """
    found: dict[str, dict[str, Any]] = {}
    if predicts_risk(model):
        found[RISK] = evaluate_risks(model, data, config, details, seed=seed)
    match config.section:
        case "stage1":
            from weir.tasks.clinical.evaluation.latents import evaluate_representation

            found[ENCODING] = evaluate_representation(model, data, config, details, seed=seed)
    if hasattr(model, "fill"):
        from weir.tasks.clinical.evaluation.filling import evaluate_fill

        found[FILLING] = evaluate_fill(model, data, config, details, seed=seed)
    match config.section:
        case "stage2" | "joint" | "distill" if hasattr(model, "synthesise"):
            from weir.tasks.clinical.evaluation.synthetic import evaluate_synthetic

            found[SYNTHETIC] = evaluate_synthetic(model, data, config, details, seed=seed)
    if not found:
        raise UserError(
            f"evaluate: {config.model} neither predicts the outcome nor encodes nor fills in; "
            "evaluate a model built on it"
        )
    parts = list(found.values())
    known = {name: value for part in parts for name, value in part["metrics"].items()}
    # Where no risk was predicted there is nothing to draw, but every evaluation has this table.
    if not (curve := details.parent / CURVE).exists():
        pd.DataFrame(columns=["predicted", "observed"]).to_csv(curve, index=False)
    # Boosting and the like call no network.
    calls = 0 if isinstance(model, Fitted) and not isinstance(model, Stacked) else 1
    families = {family: {"nfe": calls} | _about(part) for family, part in found.items()}
    return {
        "headline": next(name for name in HEADLINES if name in known),
        # In the order of the table of definitions.
        "metrics": {name: known[name] for name in DEFINITIONS if name in known},
        "definitions": {name: DEFINITIONS[name]._asdict() for name in DEFINITIONS if name in known},
        **next(iter(families.values())),
        "families": families,
        "quality_curve": [point for part in parts for point in part.get("quality_curve", [])],
        **_kind(model, config),
    }


def _about(part: dict[str, Any]) -> dict[str, Any]:
    """How one thing that the model does was scored, and what it took."""
    return {key: part[key] for key in ("protocol", "nfe", "latency_ms", "seconds") if key in part}


def _kind(model: nn.Module, config: ClinicalEvaluate) -> dict[str, str]:
    """What the report calls a model, where its section does not tell: no head is a teacher."""
    if isinstance(model, Stacked):
        return {"kind": "ensemble"}
    if config.model.startswith("stage2/") and not hasattr(model, "fill"):
        return {"kind": "head"}
    return {}
