"""Stage 1 of forecasting: an inverted transformer with a location, scale and tail for each value.

One token per variable holds that variable's whole window, normalised by its own mean and a floored
scale, and attention mixes the variables. The transformer forecasts what a linear forecaster of each
variable, fitted beforehand in closed form, leaves over.

References:
    Liu et al., iTransformer: Inverted Transformers Are Effective for Time Series Forecasting,
    ICLR 2024. Kim et al., Reversible Instance Normalization for Accurate Time-Series Forecasting
    against Distribution Shift, ICLR 2022.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from torch import Tensor

from weir.tasks.forecast.data.windows import Windows, WindowSet
from weir.tasks.forecast.representation.itransformer import ITransformer
from weir.training.objective import Objective

if TYPE_CHECKING:
    from weir.tasks.forecast.data.schema import Schema
    from weir.tasks.forecast.settings.models import ForecastJoint, ForecastStage1


class Stage1Objective(Objective):
    """Negative log-likelihood plus squared error of the location.

    The `point` head has no likelihood and is trained on the squared error alone.

    Args:
        model: the network to train.
        point_weight: weight of the squared error beside the likelihood.
    """

    model: ITransformer

    def __init__(self, model: ITransformer, point_weight: float = 0.5) -> None:
        super().__init__()
        self.model = model
        self.point_weight = point_weight

    def forward(self, batch: Windows, progress: float) -> dict[str, Tensor]:
        """Means over windows, steps and variables of `loss`, `mse`, `mae` and `nll`.

        In evaluation mode also `crps`, the closed-form score of each value's law (for the `point`
        head the absolute error, its limit without spread).
        """
        marginal = self.model(batch.history, batch.start)
        error = batch.future - marginal.loc
        found = {"mse": error.square().mean(), "mae": error.abs().mean()}
        if self.model.head == "point":
            found["loss"] = found["mse"]
        else:
            found["nll"] = marginal.nll(batch.future).mean()
            found["loss"] = found["nll"] + self.point_weight * found["mse"]
        if not self.training:
            spread = self.model.head != "point"
            found["crps"] = marginal.crps(batch.future).mean() if spread else found["mae"]
        return found

    def parameter_groups(self) -> list[dict[str, Any]]:
        """Matrices decay; biases, norms, the cycle and the base of the head do not."""
        decayed, free = [], []
        for name, parameter in self.model.named_parameters():
            matrix = parameter.ndim >= 2 and name.endswith("weight")
            (decayed if matrix else free).append(parameter)
        return [{"params": decayed}, {"params": free, "weight_decay": 0.0}]


def build(config: ForecastStage1 | ForecastJoint, schema: Schema) -> ITransformer:
    """An untrained backbone of the shape that a node states, for data of a schema."""
    shape = config.backbone.model_dump(exclude={"cycle", "ridge"})
    cycle = schema.cycle if config.backbone.cycle else None
    return ITransformer(len(schema.columns), schema.lookback, schema.horizon, cycle=cycle, **shape)


def prepare(model: ITransformer, config: ForecastStage1 | ForecastJoint, data: WindowSet) -> None:
    """Fit what has a closed form on the training windows: the linear forecaster."""
    if model.skip is not None:
        model.skip.fit(data, **config.backbone.ridge.model_dump())


def objective(config: ForecastStage1, model: ITransformer) -> Stage1Objective:
    """What stage 1 minimises."""
    return Stage1Objective(model, config.point_weight)
