"""Samples of every class, and their proper scores against held-out items of the class.

Held-out items are those of a split, dequantised the same way for every model.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor

from weir.errors import WeirError
from weir.metrics import shared_ensemble
from weir.metrics.latency import clock, latency_ms
from weir.progress import Progress
from weir.tasks.image.data.load import Images, ImageSet
from weir.tasks.image.data.scale import Scale
from weir.tasks.image.data.schema import Schema

if TYPE_CHECKING:
    from weir.tasks.image.flow.image_flow import ImageModel


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


CHUNK = 2**19
"""Values of samples that are drawn together."""

_LATENCY_CALLS, _LATENCY_SECONDS = 3, 0.5


class Samples(NamedTuple):
    """What a model drew.

    Attributes:
        unit: `[class, draw, *shape]`.
        seconds: time that it took.
    """

    unit: Tensor
    seconds: float


def labels_only(labels: list[int], shape: tuple[int, ...], device: torch.device) -> Images:
    """A batch of classes, without pictures."""
    label = torch.tensor(labels, device=device)
    return Images(torch.zeros(len(labels), *shape, device=device), label)


def draw(
    model: ImageModel, held: HeldOut, draws: int, *, steps: int, solver: Any, seed: int, label: str
) -> Samples:
    """Draw `draws` samples of each class.

    Raises:
        WeirError: a sample is NaN or infinite.
    """
    device, shape, classes = held.unit.device, held.unit.shape[1:], len(held.classes)
    batch = labels_only(list(range(classes)), shape, device)
    generator = torch.Generator(device).manual_seed(seed)
    together = max(1, CHUNK // (classes * shape.numel()))
    progress = Progress(label, draws, noun="sample of each class")
    parts = []
    begun = clock(device)
    for first in range(0, draws, together):
        count = min(together, draws - first)
        parts.append(model.draw(batch, count, steps=steps, solver=solver, generator=generator))
        progress.update(first + count)
    seconds = clock(device) - begun
    progress.close()
    unit = torch.cat(parts, dim=1)
    bad = ~unit.flatten(2).isfinite().all(dim=2)
    if bad.any():
        first = held.classes[int(bad.any(dim=1).nonzero()[0])]
        raise WeirError(
            f"evaluation: {int(bad.sum())} samples are NaN or infinite, first of class {first}; "
            "the model has diverged"
        )
    return Samples(unit, seconds)


def latency(model: ImageModel, held: HeldOut, draws: int, *, steps: int, solver: Any) -> float:
    """Milliseconds for all samples of one class, median of a few calls."""
    device = held.unit.device
    batch = labels_only([0], held.unit.shape[1:], device)
    generator = torch.Generator(device).manual_seed(0)
    together = max(1, CHUNK // held.unit[0].numel())
    counts = [min(together, draws - first) for first in range(0, draws, together)]

    def call() -> None:
        for count in counts:
            model.draw(batch, count, steps=steps, solver=solver, generator=generator)

    return latency_ms(call, device, _LATENCY_CALLS, _LATENCY_SECONDS)


def proper_scores(samples: Tensor, held: HeldOut) -> dict[str, float]:
    """Energy score and CRPS: means over all items, each against the samples of its class.

    Args:
        samples: `[class, draw, *shape]`, unit scale.
        held: the items.
    """
    energy = crps = 0.0
    for label, own in enumerate(samples.flatten(2)):
        truths = held.of_class(label)
        if not len(truths):
            continue
        share = len(truths) / len(held)
        energy += share * shared_ensemble.energy_score(own, truths)
        crps += share * float(shared_ensemble.crps(own, truths).mean())
    return {"energy_score": energy, "crps": crps}


def spread_ratio(samples: Tensor, held: HeldOut) -> dict[str, float]:
    """Deviation of the samples within their class, over that of the items; see `definitions`.

    Nothing if no class has two items.
    """
    made = real = 0.0
    for label, own in enumerate(samples.flatten(2)):
        truths = held.of_class(label)
        if len(truths) > 1:
            made += len(truths) * float(own.double().var(dim=0).mean())
            real += len(truths) * float(truths.double().var(dim=0).mean())
    return {"spread_ratio": (made / real) ** 0.5} if real else {}
