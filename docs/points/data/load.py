"""Processed points, loaded to a tensor."""

from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple, Self

import numpy as np
import torch
from torch import Tensor

from weir.tasks.points.data.schema import Schema


class Points(NamedTuple):
    """A batch, `[item, 1]`; as a flow's condition, only its length counts."""

    value: Tensor


@dataclass(frozen=True)
class PointData:
    """Points, `[item, 1]`: all of a dataset, or those of a part, a data set to train on."""

    name: str
    schema: Schema
    value: Tensor

    def card(self) -> dict[str, Any]:
        return asdict(self.schema)

    def split(self, part: str) -> Self:
        return replace(self, value=self.value[slice(*self.schema.splits[part])])

    def to(self, device: Any) -> Self:
        return replace(self, value=self.value.to(device))

    def __len__(self) -> int:
        return len(self.value)

    def batch(self, items: Tensor) -> Points:
        return Points(self.value[items.to(self.value.device)])


def load(folder: Path) -> PointData:
    """The points of a processed folder."""
    value = torch.from_numpy(np.load(folder / "points.npy"))
    return PointData(folder.name, Schema.load(folder), value)
