"""Pictures of an evaluation as PNG files: the table `pictures` and the sheet `grid.png`.

| kind | row | column | value |
|---|---|---|---|
| `data` | class | one of its held-out pictures | |
| `sample` | class | one of its samples | |
| `noisy`, `denoise` | a held-out picture | a noise level, the least first | sigma |
| `trajectory` | a sample | a state on its way out of noise | noise over data |
| `neighbour` | a sample | 0: it, 1: the training picture nearest to it | distance |

Sigmas are in units of the data's deviation. Noisy pictures and states are drawn with the contrast
of the data, that is divided by the root of one plus the noise's share.
"""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import torch
from PIL import Image
from torch import Tensor

from weir.flows.model import FlowModel
from weir.metrics.feature_distance import nearest
from weir.tasks.image.data.load import ImageSet
from weir.tasks.image.data.scale import SIGMA_DATA
from weir.tasks.image.evaluation.denoising import denoised, noisy
from weir.tasks.image.evaluation.samples import HeldOut, labels_only, some

if TYPE_CHECKING:
    from weir.tasks.image.flow.image_flow import ImageModel

STRIPS = 5
"""Pictures that are denoised, and samples whose way is shown, each of a class of its own."""

STATES = 10
"""States on the way of a sample."""

NEIGHBOURS = 10
"""Samples with the training picture nearest to them."""

LINE = 1
"""Pixels between the pictures of a sheet."""


def png(unit: Tensor) -> bytes:
    """A picture `[channel, height, width]` from -1 to 1 as a PNG file of its own size."""
    buffer = io.BytesIO()
    Image.fromarray(_pixels(unit)).save(buffer, "PNG")
    return buffer.getvalue()


def sheet(pictures: Tensor) -> bytes:
    """Pictures `[row, column, channel, height, width]` from -1 to 1 as one PNG file."""
    padded = torch.nn.functional.pad(pictures, (0, LINE, 0, LINE), value=1.0)
    rows, columns, channels, height, width = padded.shape
    whole = padded.permute(2, 0, 3, 1, 4).reshape(channels, rows * height, columns * width)
    return png(whole[:, :-LINE, :-LINE])


def _pixels(unit: Tensor) -> np.ndarray:
    levels = ((unit.detach() + 1) * 127.5).round().clamp(0, 255).to(torch.uint8).cpu().numpy()
    # One channel is grey; a picture of three is in colour, of any other number shown by its first.
    return levels.transpose(1, 2, 0) if len(levels) == 3 else levels[0]


class PictureTable:
    """Collects the pictures of an evaluation."""

    def __init__(self, classes: Sequence[str]) -> None:
        self.classes = classes
        self.rows: list[dict[str, Any]] = []

    def add(
        self, kind: str, row: int, column: int, label: int, unit: Tensor, value: float = math.nan
    ) -> None:
        """One picture `[channel, height, width]`, unit scale."""
        self.rows.append(
            {
                "kind": kind,
                "row": row,
                "column": column,
                "label": self.classes[label],
                "value": float(value),
                "png": png(unit),
            }
        )

    def frame(self) -> pd.DataFrame:
        """The table."""
        return pd.DataFrame(self.rows)

    def add_samples(self, samples: Tensor, held: HeldOut, count: int) -> None:
        """The first samples of each class, `[class, draw, *shape]`, and as many held-out ones."""
        middle = held.scale.unit(held.raw)
        for label, own in enumerate(samples):
            for kind, pictures in (("data", middle[held.label == label]), ("sample", own)):
                for column, unit in enumerate(pictures[:count]):
                    self.add(kind, label, column, label, unit)

    def add_neighbours(self, samples: Tensor, held: HeldOut, train: ImageSet) -> None:
        """A sample of each of some classes beside the training picture nearest to it."""
        base = held.scale.unit(train.raw.float())
        labels = some(len(samples), NEIGHBOURS)
        chosen = samples[labels, 0]
        distance, index = nearest(chosen.flatten(1), base.flatten(1))
        for row, label in enumerate(labels.tolist()):
            for column, unit in enumerate((chosen[row], base[index[row]])):
                self.add("neighbour", row, column, label, unit, float(distance[row]))

    def add_denoised(self, model: ImageModel, held: HeldOut, levels: Sequence[float]) -> None:
        """Some held-out pictures under noise, and what the model makes of them."""
        classes = held.label.unique()
        firsts = [(held.label == c).nonzero()[0] for c in classes[some(len(classes), STRIPS)]]
        items = torch.cat(firsts)
        clean, label = held.scale.event(held.unit[items]), held.label[items]
        for column, level in enumerate(sorted(levels)):
            under = noisy(clean, level * SIGMA_DATA, seed=0)
            answer = denoised(model, under, level * SIGMA_DATA, label)
            shown = under / math.hypot(1, level)
            for kind, events in (("noisy", shown), ("denoise", answer)):
                for row, unit in enumerate(held.scale.to_unit(events)):
                    self.add(kind, row, column, int(label[row]), unit, level)

    def add_trajectories(
        self, model: Any, held: HeldOut, *, steps: int, solver: str, seed: int
    ) -> None:
        """The states of some samples on their way, if the model solves an equation in steps."""
        # A flow without a path draws directly; one step has no states between its ends.
        flows = isinstance(model, FlowModel) and hasattr(model, "path") and not model.student
        if not flows or solver == "direct" or steps < 2:
            return
        # An adaptive solver has no states at known times.
        way: Any = "heun" if solver == "dopri5" else solver
        labels = some(len(held.classes), STRIPS).tolist()
        device = held.unit.device
        condition = model.condition(labels_only(labels, held.unit.shape[1:], device))
        white = model.source(condition, 1, torch.Generator(device).manual_seed(seed))
        found = model.transport(
            white, condition, steps=steps, solver=way, knots=min(STATES, steps + 1)
        )
        for column, (state, time) in enumerate(zip(found.knots, found.times, strict=True)):
            c = model.path.coefficients(time)
            noise = max(0.0, float(c.sigma / c.alpha)) if c.alpha > 0 else math.nan
            contrast = (c.alpha.square() + c.sigma.square()).sqrt()
            pictures = model.decode(state / contrast, condition)[:, 0]
            for row, unit in enumerate(pictures):
                self.add("trajectory", row, column, labels[row], unit, noise)
