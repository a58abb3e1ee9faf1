"""Baselines: risk scores that the models have to beat, and the ceiling.

| method | logit | needs |
|---|---|---|
| `mean_rate` | that of the training records' rate, for everybody | data |
| `counts` | boosted trees on the numbers of events by code | data |
| `logistic` | ridge logistic regression on summaries of the events by code | data |
| `boosting` | boosted trees on the same summaries | data |
| `stacked` | mean of a model's logit and boosting's, weighted on validation records | a model |
| `oracle` | the risk that the simulator's law gives: a ceiling | simulation |

Each is an `nn.Module` with `risk` (see `predictor.Predictor`) and `fit`, whose state is all that a
model folder has to hold; trees are kept as arrays. A severity score such as SAPS is no baseline:
it stands beside the outcomes, not among the events, so that no record holds it.
"""

from __future__ import annotations

from typing import Literal

from torch import nn

from weir.tasks.clinical.baseline_config import Boosting
from weir.tasks.clinical.baselines.boosting import Boosted
from weir.tasks.clinical.baselines.constants import MeanRate, Oracle
from weir.tasks.clinical.baselines.fitted import Fitted
from weir.tasks.clinical.baselines.logistic import Logistic
from weir.tasks.clinical.baselines.stacked import Stacked
from weir.tasks.clinical.baselines.trees import Trees

__all__ = [
    "Boosted",
    "Fitted",
    "Logistic",
    "MeanRate",
    "Oracle",
    "Stacked",
    "Trees",
    "build",
]


def build(
    method: str,
    codes: int,
    settings: Boosting,
    *,
    penalty: float,
    model: nn.Module | None = None,
    representation: bool = False,
    share: float | None = None,
    knows: Literal["severity", "events"] = "severity",
) -> Fitted:
    """An unfitted baseline.

    Args:
        method: one of the table above.
        codes: number of known codes.
        settings: of boosted trees.
        penalty: see `Logistic`.
        model: for `stacked`, as are `representation` and `share`, see `Stacked`.
        knows: see `Oracle`.

    Raises:
        ValueError: unknown method, or no model where one is needed.
    """
    match method:
        case "mean_rate":
            return MeanRate()
        case "counts":
            return Boosted(codes, settings, counts=True)
        case "logistic":
            return Logistic(codes, penalty)
        case "boosting":
            return Boosted(codes, settings)
        case "oracle":
            return Oracle(knows)
        case "stacked" if model is not None:
            return Stacked(model, codes, settings, representation=representation, share=share)
    raise ValueError(f"baseline {method!r} is unknown, or needs a model")
