"""Evaluation of a model of pictures, or of points in the plane, by `weir evaluate`.

| what a model has | is scored by | in modules |
|---|---|---|
| samples | proper scores | `quality_samples` |
| | the data set's classifier | `quality_features` |
| | nearest training items, a two-sample test | `quality_neighbours` |
| a density | bits per dimension, or the gap to a toy's law | `quality_density` |
| a denoiser | its error at several levels of noise | `quality_denoising` |

Its tables: `bits`, `confusion`, `denoising`, `nearest`, `pictures` (see
`picture_table`), of toys `points` and `field` (see `quality_toys`); and a sheet of samples,
`grid.png`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pandas as pd
import torch
from torch import Tensor

from weir.artifacts.evaluation import Scored
from weir.errors import UserError
from weir.tasks.image.evaluation.definitions import definition, ordered
from weir.tasks.image.evaluation.denoising import denoises_pixels, denoising_scores
from weir.tasks.image.evaluation.density import bit_scores, gap_scores
from weir.tasks.image.evaluation.features import feature_scores, nearest_scores, two_sample_auc
from weir.tasks.image.evaluation.pictures import PictureTable, sheet
from weir.tasks.image.evaluation.samples import (
    HeldOut,
    Samples,
    draw,
    latency,
    proper_scores,
    spread_ratio,
)
from weir.tasks.image.evaluation.toys import field, point_scores

if TYPE_CHECKING:
    from weir.tasks.image.data.load import ImageData
    from weir.tasks.image.flow.image_flow import ImageModel
    from weir.tasks.image.settings.scoring import ImageEvaluate

Scores = dict[str, float]
Tables = dict[str, pd.DataFrame]


@torch.no_grad()
def evaluate(
    model: ImageModel,
    data: ImageData,
    config: ImageEvaluate,
    *,
    seed: int,
    label: str,
) -> Scored:
    """Score `model` on every item of the split.

    Args:
        model: see `ImageModel`.
        data: on the device of the model.
        config: the evaluate node.
        seed: of the samples.
        label: names the progress line.

    Raises:
        UserError: the model makes no pictures.
        WeirError: a sample, a density or a denoised picture is NaN or infinite.
    """
    if not hasattr(model, "draw"):
        raise UserError(
            f"evaluate: {config.model} makes no samples; evaluate a model of stage2 built on it"
        )
    _prepare(model, config)
    held = HeldOut.of(data.split(config.split), data.schema)
    points, samples = _drawn(model, held, config, seed, label)
    scores, tables = _sample_scores(samples, data, held, seed)
    for part in (_density_scores(model, data, held), _denoiser_scores(model, held, config)):
        scores |= part[0]
        tables |= part[1]
    scores |= {name: points[0][name] for name in ("energy_score", "crps")}
    files = {}
    if data.schema.levels is None:
        tables |= _field(model, held, config)
    else:
        tables["pictures"] = _pictures(model, data, held, samples, config, seed)
        shown = samples[:, : config.pictures]
        picture = sheet(shown)
        files["grid.png"] = lambda file: file.write_bytes(picture)
    scores = ordered(scores)
    return Scored(
        headline="energy_score",
        metrics=scores,
        definitions={name: definition(name) for name in scores},
        protocol=_protocol(model, data, held, config),
        nfe=points[0]["nfe"],
        latency_ms=points[0]["latency_ms"],
        seconds=points[0]["seconds"],
        # Error of the denoiser by noise; without rows where there is none.
        curve=tables.get("denoising", pd.DataFrame(columns=["sigma", "mse"])),
        quality_curve=sorted(points, key=_calls) if config.stepped else [],
        tables=tables,
        files=files,
    )


def _prepare(model: ImageModel, config: ImageEvaluate) -> None:
    """Tell the model how to sample, where that is no argument of `draw`.

    Raises:
        UserError: it cannot be guided.
    """
    if config.guidance and not model.guidable:
        raise UserError(
            f"evaluate: {config.model} cannot be guided, only a stage2 model (flow, denoiser, "
            "matching) trained with drop_class above 0; remove guidance"
        )
    if config.guidance is not None:
        model.guidance = config.guidance
    model.direct_sigma = config.direct_sigma


def _drawn(
    model: ImageModel, held: HeldOut, config: ImageEvaluate, seed: int, label: str
) -> tuple[list[dict[str, Any]], Tensor]:
    """Points of the curve of quality against cost, and the samples of the first."""
    points, first = [], None
    for steps in [config.steps, *(config.quality_steps if config.stepped else [])]:
        found = draw(
            model,
            held,
            config.samples,
            steps=steps,
            solver=config.solver,
            seed=seed,
            label=f"{label}, {steps} steps",
        )
        first = first if first is not None else found.unit
        points.append(_point(model, held, config, steps, found))
    assert first is not None
    return points, first


def _point(
    model: ImageModel, held: HeldOut, config: ImageEvaluate, steps: int, found: Samples
) -> dict[str, Any]:
    return {
        "steps": steps,
        "nfe": _nfe(model, steps, config.solver),
        "seconds": found.seconds,
        "latency_ms": latency(model, held, config.samples, steps=steps, solver=config.solver),
        **proper_scores(found.unit, held),
    }


def _nfe(model: ImageModel, steps: int, solver: Any) -> int | None:
    """Network calls per sample; None for an adaptive solver, whose cost nobody knows before."""
    try:
        return model.nfe(steps, solver)
    except ValueError:
        return None


def _calls(point: dict[str, Any]) -> int:
    return point["nfe"] or 0


def _sample_scores(
    samples: Tensor, data: ImageData, held: HeldOut, seed: int
) -> tuple[Scores, Tables]:
    """Scores of the samples alone, and their tables."""
    scores: Scores = spread_ratio(samples, held)
    tables: Tables = {}
    near, tables["nearest"] = nearest_scores(samples, held, data.split("train"))
    scores |= near | two_sample_auc(samples, held, seed)
    if data.schema.levels is None:
        found, tables["points"] = point_scores(samples, held)
        scores |= found
    if (judge := data.judge()) is not None:
        found, tables["confusion"] = feature_scores(judge.to(samples.device), samples, held)
        scores |= found
    return scores, tables


def _density_scores(model: ImageModel, data: ImageData, held: HeldOut) -> tuple[Scores, Tables]:
    if not model.has_density:
        return {}, {}
    if data.schema.levels is None:
        return gap_scores(model, held, data.toy()), {}
    scores, table = bit_scores(model, held)
    return scores, {"bits": table}


def _denoiser_scores(
    model: ImageModel, held: HeldOut, config: ImageEvaluate
) -> tuple[Scores, Tables]:
    if not denoises_pixels(model):
        return {}, {}
    scores, table = denoising_scores(model, held, config.sigmas)
    return scores, {"denoising": table}


def _field(model: ImageModel, held: HeldOut, config: ImageEvaluate) -> Tables:
    return {"field": field(model, held, config.sigmas)} if denoises_pixels(model) else {}


def _pictures(
    model: ImageModel,
    data: ImageData,
    held: HeldOut,
    samples: Tensor,
    config: ImageEvaluate,
    seed: int,
) -> pd.DataFrame:
    table = PictureTable(held.classes)
    table.add_samples(samples, held, config.pictures)
    table.add_neighbours(samples, held, data.split("train"))
    if denoises_pixels(model):
        table.add_denoised(model, held, config.sigmas)
    table.add_trajectories(model, held, steps=config.steps, solver=config.solver, seed=seed)
    return table.frame()


def _protocol(
    model: ImageModel, data: ImageData, held: HeldOut, config: ImageEvaluate
) -> dict[str, Any]:
    schema = data.schema
    toy = schema.levels is None
    return {
        "split": config.split,
        "items": len(held),
        "classes": len(schema.classes),
        "samples": config.samples,
        "steps": config.steps,
        "solver": config.solver,
        "guidance": model.guidance,
        "shape": " x ".join(map(str, schema.shape)),
        "levels": schema.levels,
        "scale": "coordinates" if toy else "pixels from -1 to 1",
        "judge_accuracy": schema.judge.accuracy[config.split] if schema.judge else None,
    }
