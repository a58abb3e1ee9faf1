"""Fitting a baseline node, and building one."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import nn

from weir.errors import UserError
from weir.tasks.forecast import baselines
from weir.tasks.forecast.baselines import DLinearObjective, Head, Oracle
from weir.tasks.forecast.simulation.simulate import Law
from weir.training.loop import train

if TYPE_CHECKING:
    from weir.tasks.forecast.data.load import ForecastData
    from weir.tasks.forecast.data.schema import Schema
    from weir.tasks.forecast.settings.baseline import ForecastBaseline
    from weir.training.loop import Log


def build(config: ForecastBaseline, schema: Schema, backbone: nn.Module | None) -> nn.Module:
    """An unfitted baseline of the kind that a node states.

    Raises:
        UserError: the seasonal naive forecast needs more history than the dataset gives.
    """
    if config.method == "seasonal_naive" and (schema.cycle or 1) > schema.lookback:
        raise UserError(
            f"a cycle of {schema.cycle} rows does not fit into a lookback of {schema.lookback}; "
            f"raise lookback or lower cycle of datasets.{config.dataset}, or remove this node"
        )
    return baselines.build(config.method, schema, backbone)


def fit(
    model: nn.Module,
    config: ForecastBaseline,
    data: ForecastData,
    backbone: nn.Module | None,
    *,
    seed: int,
    checkpoints: Path,
    log: Log,
) -> list[dict[str, Any]]:
    """Fit a baseline on the training windows; returns the history of training, if there was any.

    Raises:
        UserError: an oracle is asked for, but the data is not simulated.
    """
    windows = data.split("train")
    history: list[dict[str, Any]] = []
    if isinstance(model, Oracle):
        model.fit(Law.load(data.folder))
        return history
    if backbone is not None:
        inner = model.backbone if isinstance(model, Head) else model.forecaster
        inner.load_state_dict(backbone.state_dict())
    if config.method == "dlinear":
        history = train(
            DLinearObjective(model.forecaster.requires_grad_(True)),
            windows,
            data.split("validation"),
            config.training,
            seed=seed,
            checkpoints=checkpoints,
            log=log,
            label=f"dlinear seed {seed}",
        ).history
    model.eval().requires_grad_(False).fit(windows)
    return history
