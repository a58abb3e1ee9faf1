"""Scores of samples against the points of a split."""

from typing import Any

import pandas as pd
import torch

from weir.artifacts.evaluation import Scored
from weir.metrics.scores import energy_score
from weir.tasks.points.data.load import PointData
from weir.tasks.points.evaluation.definitions import DEFINITIONS


def evaluate(model: Any, data: PointData, config: Any, *, seed: int, label: str) -> Scored:
    """Score a flow, a student or the baseline."""
    items, device = data.split(config.split), data.value.device
    how = {"steps": config.steps, "solver": config.solver}
    batch, generator = items.batch(torch.arange(len(items))), torch.Generator(device)
    drawn = model.draw(batch, config.samples, **how, generator=generator.manual_seed(seed))
    level = torch.arange(1, 20) / 20
    score, spread = energy_score(drawn, batch.value).mean(), drawn.std() / batch.value.std()
    return Scored(
        headline="energy_score",
        metrics={"energy_score": float(score), "spread_ratio": float(spread)},
        definitions=DEFINITIONS,
        protocol={"split": config.split, "points": len(items), "samples": config.samples, **how},
        nfe=model.nfe(**how),
        curve=pd.DataFrame({"level": level, "quantile": drawn[:, 0, 0].cpu().quantile(level)}),
    )
