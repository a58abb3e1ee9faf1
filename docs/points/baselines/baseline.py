"""The baseline: one Gaussian with the mean and the deviation of the training points."""

from typing import Any

import torch
from torch import Tensor

from weir.tasks.points.data.load import PointData, Points
from weir.tasks.points.representation.stage1 import Standardiser, prepare


class Gaussian(Standardiser):
    """Noise that is decoded; it answers as a `FlowModel` where samples are asked for."""

    def draw(self, batch: Points, draws: int, *, generator: Any = None, **how: Any) -> Tensor:
        shape = (len(batch.value), draws, 1)
        return self.decode(torch.randn(shape, generator=generator, device=self.mean.device))

    def nfe(self, steps: int, solver: str) -> int:
        return 0


def build(config: Any, schema: Any, below: None) -> Gaussian:
    return Gaussian()


def fit(model: Gaussian, config: Any, data: PointData, below: None, **how: Any) -> list[Any]:
    prepare(model, config, data.split("train"))
    return []  # no history of training
