"""Drawing samples of every class, and their proper scores against held-out items of the class."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor

from weir.errors import WeirError
from weir.metrics import shared_ensemble
from weir.tasks.image.data import Images
from weir.tasks.image.held_out import HeldOut
from weir.training.progress import Progress

if TYPE_CHECKING:
    from weir.tasks.image.image_model import ImageModel

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
    begun = _clock(device)
    for first in range(0, draws, together):
        count = min(together, draws - first)
        parts.append(model.draw(batch, count, steps=steps, solver=solver, generator=generator))
        progress.update(first + count)
    seconds = _clock(device) - begun
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
    times: list[float] = []
    while len(times) < _LATENCY_CALLS and sum(times) < _LATENCY_SECONDS:
        begun = _clock(device)
        for count in counts:
            model.draw(batch, count, steps=steps, solver=solver, generator=generator)
        times.append(_clock(device) - begun)
    return 1000 * sorted(times)[len(times) // 2]


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


def _clock(device: torch.device) -> float:
    """Seconds, once the device has finished what was asked of it."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()
