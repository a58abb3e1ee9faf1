"""Baselines: simple models that the others have to beat, and the ceiling.

| method | logit, or law of values | needs |
|---|---|---|
| `mean_rate` | that of the training records' rate, for everybody | data |
| `counts` | boosted trees on the numbers of events by code | data |
| `logistic` | ridge logistic regression on aggregates of the events by code | data |
| `boosting` | boosted trees on the same aggregates | data |
| `gru_d` | a recurrent network whose inputs and state decay (Che et al. 2018) | data |
| `stacked` | mean of a model's logit and boosting's, weighted on validation records | a model |
| `oracle` | the risk that the simulator's law gives: a ceiling | simulation |
| `mean_by_hour` | values about the code's mean in the bin | data |
| `last_value` | values about the last one, carried forward | data |
| `gaussian_process` | a Gaussian process for each code | data |

Each is an `nn.Module` with `risk` (see `predictor.Predictor`) or `fill` (see `filled.Filler`) and
with `fit`, whose state is all that a model folder has to hold; trees are kept as arrays. A severity
score such as SAPS is no baseline: it stands beside the outcomes, not among the events, so that no
record holds it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import nn

from weir.tasks.clinical.baselines.constants import Fitted, MeanRate, Oracle
from weir.tasks.clinical.baselines.filling import LastValue, MeanByHour
from weir.tasks.clinical.baselines.gaussian_process import GaussianProcess
from weir.tasks.clinical.baselines.gru_d import GRUD, GRUDObjective
from weir.tasks.clinical.baselines.logistic import Logistic
from weir.tasks.clinical.baselines.stacked import Stacked
from weir.tasks.clinical.baselines.trees import Boosted, Trees
from weir.tasks.clinical.flow.grid import grid_of

if TYPE_CHECKING:
    from weir.tasks.clinical.data.schema import Schema
    from weir.tasks.clinical.settings.baseline import ClinicalBaseline

__all__ = [
    "GRUD",
    "Boosted",
    "Fitted",
    "GRUDObjective",
    "GaussianProcess",
    "LastValue",
    "Logistic",
    "MeanByHour",
    "MeanRate",
    "Oracle",
    "Stacked",
    "Trees",
    "build",
]


def build(config: ClinicalBaseline, schema: Schema, model: nn.Module | None = None) -> Fitted:
    """An unfitted baseline.

    Args:
        config: its node.
        schema: of the dataset.
        model: for `stacked`.

    Raises:
        ValueError: no model where one is needed.
    """
    grid, codes = config.grid, len(schema.codes)
    match config.method:
        case "mean_rate":
            return MeanRate()
        case "counts":
            return Boosted(codes, config.boosting, counts=True)
        case "logistic":
            return Logistic(codes, config.penalty)
        case "boosting":
            return Boosted(codes, config.boosting)
        case "gru_d":
            return GRUD(
                codes,
                len(schema.static),
                grid_of(grid, schema.horizon_hours),
                schema.prevalence,
                **config.network.model_dump(),
            )
        case "oracle":
            return Oracle(config.knows)
        case "mean_by_hour":
            return MeanByHour(codes, grid.bins, grid.hours)
        case "last_value":
            return LastValue(codes, grid.bins, grid.hours)
        case "gaussian_process":
            return GaussianProcess(codes, grid.bins, grid.hours)
        case "stacked" if model is not None:
            return Stacked(
                model,
                codes,
                config.boosting,
                representation=config.representation,
                share=config.weight,
            )
    raise ValueError(f"baseline {config.method!r} needs a model")
