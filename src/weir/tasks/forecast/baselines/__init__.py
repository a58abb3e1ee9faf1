"""Baselines: what a two-stage model has to beat, and the oracle that it cannot.

| method | forecast | spread | needs |
|---|---|---|---|
| `seasonal_naive` | the last cycle again | quantiles of its training errors, independent | data |
| `dlinear` | DLinear | Gaussian of its training errors, independent | data |
| `gaussian` | backbone | Gaussian of its training errors, independent | backbone |
| `bootstrap` | backbone | whole error paths of training windows | backbone |
| `head` | backbone | its own law of each value, independent | backbone |
| `correlated_gaussian` | backbone | Gaussian with the training residuals' covariance | backbone |
| `head_copula` | backbone | its own laws, tied by a Gaussian copula | backbone |
| `oracle` | exact mean | exact law of the simulator | simulated data |

Each is an `nn.Module` with `point`, `sample` and `nfe` (see `forecaster.Forecaster`), whose state
is all that a model folder has to hold. `build` makes one of the right shape, to be fitted by its
`fit` or filled with saved weights.
"""

from __future__ import annotations

from torch import nn

from weir.tasks.forecast.baselines.around_law import CorrelatedGaussian, GaussianCopula, Head
from weir.tasks.forecast.baselines.around_point import BootstrapResidual, GaussianResidual
from weir.tasks.forecast.baselines.dlinear import DLinear, DLinearObjective
from weir.tasks.forecast.baselines.oracle import Oracle
from weir.tasks.forecast.baselines.seasonal_naive import SeasonalNaive
from weir.tasks.forecast.data.schema import Schema

__all__ = [
    "BootstrapResidual",
    "CorrelatedGaussian",
    "DLinear",
    "DLinearObjective",
    "GaussianCopula",
    "GaussianResidual",
    "Head",
    "Oracle",
    "SeasonalNaive",
    "build",
]

BOOTSTRAP_PATHS = 2048
"""Most error paths that `bootstrap` keeps."""


def build(method: str, schema: Schema, backbone: nn.Module | None = None) -> nn.Module:
    """An unfitted baseline.

    Args:
        method: one of the table above.
        schema: of the data; gives shapes, cycle and scaler.
        backbone: the stage-1 model, for methods that need one; for `dlinear` the trained DLinear,
            a fresh one if absent, whose weights are then to be loaded.

    Raises:
        ValueError: unknown method, or no backbone where one is needed.
    """
    variables, horizon = len(schema.columns), schema.horizon
    match method:
        case "seasonal_naive":
            return SeasonalNaive(variables, horizon, schema.cycle or 1)
        case "dlinear":
            linear = DLinear(schema.lookback, horizon) if backbone is None else backbone
            return GaussianResidual(linear, variables, horizon)
        case "oracle":
            return Oracle(schema.scaler, horizon)
    if backbone is None:
        raise ValueError(f"baseline {method!r} is unknown, or needs a backbone")
    match method:
        case "gaussian":
            return GaussianResidual(backbone, variables, horizon)
        case "bootstrap":
            first, last = schema.splits["train"]
            windows = last - max(first, schema.lookback) - horizon + 1
            return BootstrapResidual(backbone, variables, horizon, min(BOOTSTRAP_PATHS, windows))
        case "head":
            return Head(backbone)
        case "correlated_gaussian":
            return CorrelatedGaussian(backbone, variables, horizon)
        case "head_copula":
            return GaussianCopula(backbone, variables, horizon)
    raise ValueError(f"unknown baseline {method!r}; see weir.tasks.forecast.baselines")
