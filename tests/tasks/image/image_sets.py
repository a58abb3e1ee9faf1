"""Small sets of pictures and points in memory, without files."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn

from weir.tasks.image.data.load import ImageData, ImageSet
from weir.tasks.image.data.scale import Scale
from weir.tasks.image.data.schema import Schema


class Nearest(nn.Module):
    """A classifier of two classes, by the mean of a picture's left and right half."""

    def features(self, unit: Tensor) -> Tensor:
        """`[item, 2]`."""
        left, right = unit.flatten(2).mean(1).reshape(len(unit), *unit.shape[2:]).chunk(2, dim=2)
        return torch.stack([left.mean((1, 2)), right.mean((1, 2))], dim=1)

    def forward(self, unit: Tensor) -> Tensor:
        """`[item, class]`."""
        return 10 * self.features(unit)


class Set(ImageData):
    """A set whose judge is `Nearest`."""

    def judge(self) -> nn.Module | None:
        return None if self.schema.levels is None else Nearest()


def halves(train: int = 200, test: int = 100, levels: int = 8, seed: int = 0) -> ImageData:
    """Pictures 1 x 4 x 4 of two classes: the left half is bright, or the right one."""
    generator = torch.Generator().manual_seed(seed)
    counts = {"train": train, "validation": 20, "test": test}
    label = torch.arange(sum(counts.values())) % 2
    bright = torch.zeros(2, 1, 4, 4)
    bright[0, ..., :2], bright[1, ..., 2:] = 4, 4
    raw = bright[label] + torch.randint(0, 4, (len(label), 1, 4, 4), generator=generator)
    return data(raw.to(torch.uint8), label, counts, levels)


def clouds(train: int = 400, test: int = 200, seed: int = 0) -> ImageData:
    """Points of two Gaussian classes on the plane, about (-2, 0) and (2, 0)."""
    generator = torch.Generator().manual_seed(seed)
    counts = {"train": train, "validation": 20, "test": test}
    label = torch.arange(sum(counts.values())) % 2
    raw = torch.randn(len(label), 2, generator=generator) / 2
    raw[:, 0] += 4 * label - 2
    return data(raw, label, counts, None)


def data(raw: Tensor, label: Tensor, counts: dict[str, int], levels: int | None) -> ImageData:
    """The set of these items."""
    unit = Scale(levels, 0.0, 1.0).unit(raw[: counts["train"]].float())
    schema = Schema(
        task="image",
        shape=tuple(raw.shape[1:]),
        levels=levels,
        classes=("left", "right"),
        priors=(0.5, 0.5),
        counts=counts,
        center=float(unit.mean()),
        spread=float(unit.std()),
        judge=None,
        repairs=(),
        source_sha256="",
        digest="",
        simulated=levels is None,
        truth=None,
    )
    return Set(ImageSet(raw, label, torch.arange(len(label))), schema, Path("halves"))
