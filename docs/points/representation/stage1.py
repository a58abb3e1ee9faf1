"""Stage 1: points in units of their deviation, about their mean."""

from typing import Any

import torch
from torch import Tensor, nn

from weir.tasks.points.data.load import PointData


class Standardiser(nn.Module):
    """A shift and a scale: `encode` makes events of points, `decode` points of events."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(()))
        self.register_buffer("deviation", torch.ones(()))

    def encode(self, value: Tensor) -> Tensor:
        return (value - self.mean) / self.deviation

    def decode(self, event: Tensor) -> Tensor:
        return event * self.deviation + self.mean


def build(config: Any, schema: Any) -> Standardiser:
    return Standardiser()


def prepare(model: Standardiser, config: Any, data: PointData) -> None:
    model.load_state_dict({"mean": data.value.mean(), "deviation": data.value.std()})


def objective(config: Any, model: Standardiser) -> None:
    """None: once prepared, the model is complete."""
