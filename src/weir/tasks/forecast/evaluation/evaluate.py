"""Evaluation of a forecaster by `weir evaluate`: scores, definitions, tables, cost of a sample."""

from __future__ import annotations

from typing import TYPE_CHECKING

from weir.artifacts.evaluation import Scored
from weir.progress import Progress
from weir.tasks.forecast.evaluation.definitions import DEFINITIONS
from weir.tasks.forecast.evaluation.scores import ForecastScores
from weir.tasks.forecast.evaluation.scores import evaluate as score

if TYPE_CHECKING:
    from weir.settings.nodes import Evaluate
    from weir.tasks.forecast.data.load import ForecastData
    from weir.tasks.forecast.evaluation.scores import Forecaster


def evaluate(
    model: Forecaster, data: ForecastData, config: Evaluate, *, seed: int, label: str
) -> Scored:
    """Score `model` on every window of the split."""
    first = _score(model, data, config, config.steps, seed, label)
    curve = [_point(config.steps, first)] if config.stepped else []
    for steps in config.quality_steps:
        curve.append(_point(steps, _score(model, data, config, steps, seed, label)))
    return Scored(
        headline="crps",
        metrics=first.scores,
        definitions={name: DEFINITIONS[name] for name in first.scores},
        protocol={
            "split": config.split,
            "windows": first.windows,
            "samples": config.samples,
            "steps": config.steps,
            "solver": config.solver,
            "scale": "standardised by the training rows",
            "horizon": data.schema.horizon,
            "variables": len(data.schema.columns),
        },
        nfe=first.nfe,
        latency_ms=first.latency_ms,
        seconds=first.seconds,
        curve=first.tables["horizon"],
        quality_curve=sorted(curve, key=lambda point: point["nfe"]),
        tables=first.tables,
    )


def _score(
    model: Forecaster, data: ForecastData, config: Evaluate, steps: int, seed: int, label: str
) -> ForecastScores:
    windows = data.split(config.split)
    progress = Progress(f"{label}, {steps} steps", len(windows), noun="window")
    scores = score(
        model,
        windows,
        scaler=data.schema.scaler,
        columns=data.schema.columns,
        samples=config.samples,
        steps=steps,
        solver=config.solver,
        seed=seed,
        day=data.schema.cycle or data.schema.horizon,
        progress=lambda done, _: progress.update(done),
    )
    progress.close()
    return scores


def _point(steps: int, scores: ForecastScores) -> dict[str, float]:
    """One point of the curve of quality against cost."""
    return {
        "steps": steps,
        "nfe": scores.nfe,
        "seconds": scores.seconds,
        "latency_ms": scores.latency_ms,
        "crps": scores.scores["crps"],
        "energy_score": scores.scores["energy_score"],
    }
