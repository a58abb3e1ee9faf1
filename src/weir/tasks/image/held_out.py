"""The items that samples are held against: a split, dequantised the same way for every model."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from weir.tasks.image.data import ImageSet
from weir.tasks.image.scale import Scale
from weir.tasks.image.schema import Schema

CLEAN = 1000
"""Noised items at least, of a score that depends on noise: small splits are noised repeatedly."""


@dataclass(frozen=True)
class HeldOut:
    """All items of a split.

    Attributes:
        raw: `[item, *shape]` float32.
        label: `[item]`.
        unit: `[item, *shape]` dequantised once.
        scale: of the data.
        classes: names.
        priors: `[class]` share of each class among the training items.
        shares: `[class]` share of each class among these items.
    """

    raw: Tensor
    label: Tensor
    unit: Tensor
    scale: Scale
    classes: tuple[str, ...]
    priors: Tensor
    shares: Tensor

    @classmethod
    def of(cls, items: ImageSet, schema: Schema) -> HeldOut:
        """Those of a split."""
        scale = Scale(schema.levels, schema.center, schema.spread)
        raw, label = items.raw.float(), items.label
        count = torch.bincount(label, minlength=len(schema.classes))
        return cls(
            raw,
            label,
            _noised(raw, scale, seed=0),
            scale,
            schema.classes,
            torch.tensor(schema.priors, device=raw.device),
            count / len(label),
        )

    def __len__(self) -> int:
        return len(self.label)

    @property
    def rounds(self) -> int:
        """How often the items are noised for scores that depend on it."""
        return -(-CLEAN // len(self))

    def dequantised(self, round_: int) -> Tensor:
        """The items `[item, *shape]`, unit scale, with the noise of a round, from 0."""
        return _noised(self.raw, self.scale, seed=1 + round_)

    def of_class(self, label: int) -> Tensor:
        """Items of a class, `[item, dimension]`, unit scale."""
        return self.unit[self.label == label].flatten(1)

    def thinned(self, samples: Tensor) -> tuple[Tensor, Tensor]:
        """As many samples of each class as there are items of it, up to one factor.

        Args:
            samples: `[class, draw, *shape]`.

        Returns:
            samples `[sample, *shape]` and their classes `[sample]`.
        """
        draws = samples.shape[1]
        counts = (self.shares / self.shares.max() * draws).round().long().tolist()
        label = torch.arange(len(samples), device=samples.device)
        return (
            torch.cat([own[:count] for own, count in zip(samples, counts, strict=True)]),
            label.repeat_interleave(torch.tensor(counts, device=samples.device)),
        )


def _noised(raw: Tensor, scale: Scale, seed: int) -> Tensor:
    # On the CPU, so that every device sees the same noise.
    noise = torch.rand(raw.shape, generator=torch.Generator().manual_seed(seed))
    return scale.unit(raw, noise.to(raw.device))


def some(count: int, most: int) -> Tensor:
    """At most `most` numbers of `count` items, evenly spaced, `[item]` int64."""
    return torch.linspace(0, count - 1, min(count, most)).long()
