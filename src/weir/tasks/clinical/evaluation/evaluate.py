"""Evaluation of a clinical model by `weir evaluate`: each thing that it can do, on its own.

| a model that | is scored by | in |
|---|---|---|
| predicts the outcome (`risk`) | its risks | `risk_quality` |
| encodes sets of events (stage 1) | its latents and what it gives back | `representation_quality` |
| fills in what is hidden (`fill`) | imputation and forecasts | `fill_quality` |
| makes patients (`synthesise`) | how they do in the place of real ones | `synthetic_quality` |

Each module has one function that returns a `Part`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd
from torch import nn

from weir.artifacts.evaluation import Scored
from weir.errors import UserError
from weir.tasks.clinical.baselines.constants import Fitted, predicts_risk
from weir.tasks.clinical.baselines.stacked import Stacked
from weir.tasks.clinical.evaluation.definitions import (
    ENCODING,
    FILLING,
    HEADLINES,
    RISK,
    SYNTHETIC,
    defined,
    ordered,
)
from weir.tasks.clinical.evaluation.part import Part
from weir.tasks.clinical.evaluation.risks import evaluate_risks

if TYPE_CHECKING:
    from weir.tasks.clinical.data.load import ClinicalData
    from weir.tasks.clinical.settings.scoring import ClinicalEvaluate


def evaluate(
    model: nn.Module,
    data: ClinicalData,
    config: ClinicalEvaluate,
    *,
    seed: int,
    label: str,
) -> Scored:
    """Score `model` on every record of the split.

    Args:
        model: see the table above; what it can do is told by its methods.
        data: on the device of the model.
        config: the evaluate node.
        seed: of resamples and samples.
        label: names the progress line.

    Raises:
        UserError: the split has nothing to score on, or the model does nothing that is scored.
        WeirError: a prediction is NaN or infinite.
    """
    found: dict[str, Part] = {}
    if predicts_risk(model):
        found[RISK] = evaluate_risks(model, data, config, seed=seed)
    match config.section:
        case "stage1":
            from weir.tasks.clinical.evaluation.latents import evaluate_representation

            found[ENCODING] = evaluate_representation(model, data, config, seed=seed)
    if hasattr(model, "fill"):
        from weir.tasks.clinical.evaluation.filling import evaluate_fill

        found[FILLING] = evaluate_fill(model, data, config, seed=seed)
    match config.section:
        case "stage2" | "joint" | "distill" if hasattr(model, "synthesise"):
            from weir.tasks.clinical.evaluation.synthetic import evaluate_synthetic

            found[SYNTHETIC] = evaluate_synthetic(model, data, config, seed=seed)
    if not found:
        raise UserError(
            f"evaluate: {config.model} neither predicts the outcome nor encodes nor fills in; "
            "evaluate a model built on it"
        )
    parts = list(found.values())
    known = {name: value for part in parts for name, value in part.metrics.items()}
    tables = {name: table for part in parts for name, table in part.tables.items()}
    curves = [part.curve for part in parts if part.curve is not None]
    # Boosting and the like call no network.
    calls = 0 if isinstance(model, Fitted) and not isinstance(model, Stacked) else 1
    families = {family: part.cost(calls) for family, part in found.items()}
    first = next(iter(families.values()))
    return Scored(
        headline=next(name for name in HEADLINES if name in known),
        metrics=ordered(known),
        definitions=defined(known),
        protocol=first.protocol,
        nfe=first.nfe,
        latency_ms=first.latency_ms,
        seconds=first.seconds,
        # Where no risk was predicted there is nothing to draw.
        curve=curves[0] if curves else pd.DataFrame(columns=["predicted", "observed"]),
        quality_curve=[point for part in parts for point in part.quality_curve],
        families=families,
        kind=_kind(model, config),
        tables=tables,
    )


def _kind(model: nn.Module, config: ClinicalEvaluate) -> str | None:
    """What the report calls a model, where its section does not tell: no head is a teacher."""
    if isinstance(model, Stacked):
        return "ensemble"
    if config.model.startswith("stage2/") and not hasattr(model, "fill"):
        return "head"
    return None
