"""Samples of laws in the plane, and the field that leads noise to them, for the report.

| table | columns |
|---|---|
| `points` | kind (data, sample), x, y, label: name of the class |
| `field` | sigma in units of the data's deviation, x, y, score (u, v), log_density |
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import pandas as pd
import torch
from torch import Tensor

from weir.errors import UserError
from weir.metrics.pairwise import mean_over_pairs
from weir.tasks.image.data.scale import SIGMA_DATA
from weir.tasks.image.evaluation.samples import HeldOut, some

if TYPE_CHECKING:
    from weir.tasks.image.flow.image_flow import ImageModel

POINTS = 2000
"""Most points of a kind in the table."""

COMPARED = 3000
"""Most points of a kind in the energy distance."""

PLACES = 41
"""Places of the field along each axis."""


def point_scores(samples: Tensor, held: HeldOut) -> tuple[dict[str, float], pd.DataFrame]:
    """Energy distance of samples and items, and the table `points`.

    Args:
        samples: `[class, draw, 2]`.
        held: the items.
    """
    made, real = held.thinned(samples), (held.unit, held.label)
    few = []
    for points, label in (made, real):
        chosen = some(len(points), COMPARED)
        few.append((points[chosen], label[chosen]))
    between = mean_over_pairs(torch.sqrt, few[0][0], few[1][0])
    distance = 2 * between - sum(_within(*part) for part in few)
    tables = []
    for kind, (points, label) in (("data", real), ("sample", made)):
        chosen = some(len(points), POINTS)
        x, y = points[chosen].cpu().numpy().T
        names = [held.classes[c] for c in label[chosen].tolist()]
        tables.append(pd.DataFrame({"kind": kind, "x": x, "y": y, "label": names}))
    return {"energy_distance": float(distance)}, pd.concat(tables)


def _within(points: Tensor, label: Tensor) -> float:
    """Mean distance of two independent points, whose classes have fixed shares.

    Without regard to the classes, two sets of the same shares would seem closer than they are.
    """
    parts = [points[label == c] for c in label.unique()]
    total = 0.0
    for i, a in enumerate(parts):
        for b in parts[: i + 1]:
            weight = len(a) * len(b) / len(points) ** 2
            if a is not b:
                total += 2 * weight * float(mean_over_pairs(torch.sqrt, a, b))
            elif len(a) > 1:
                total += weight * float(mean_over_pairs(torch.sqrt, a))
    return total


def field(model: ImageModel, held: HeldOut, levels: Sequence[float]) -> pd.DataFrame:
    """The table `field`: score and density of all classes together where the items lie.

    A model that cannot do without the class shows the field of the first one.

    Args:
        model: with a denoiser.
        held: the items.
        levels: deviations of the noise, in units of the data's own.
    """
    low, high = held.unit.min(dim=0).values, held.unit.max(dim=0).values
    room = 0.15 * (high - low)
    axes = [
        torch.linspace(float(a), float(b), PLACES, device=held.unit.device)
        for a, b in zip(low - room, high + room, strict=True)
    ]
    places = torch.cartesian_prod(*axes)
    event = held.scale.event(places)
    tables = []
    for level in sorted(levels):
        sigma = torch.full((len(places),), level * SIGMA_DATA, device=places.device)
        try:
            label = None
            clean = model.denoise(event, sigma, None)
        except UserError:
            label = torch.zeros(len(places), dtype=torch.int64, device=places.device)
            clean = model.denoise(event, sigma, label)
        # The score of coordinates, not of events.
        score = (clean - event) / sigma[:, None].square() * (SIGMA_DATA / held.scale.spread)
        columns = {
            "sigma": torch.full_like(sigma, level),
            "x": places[:, 0],
            "y": places[:, 1],
            "u": score[:, 0],
            "v": score[:, 1],
            "log_density": _log_density(model, event, sigma, label, held),
        }
        tables.append(pd.DataFrame({name: part.cpu().numpy() for name, part in columns.items()}))
    return pd.concat(tables)


def _log_density(
    model: ImageModel, event: Tensor, sigma: Tensor, label: Tensor | None, held: HeldOut
) -> Tensor:
    """Log density of coordinates with noise; NaN for a model that has none."""
    if not hasattr(model, "log_density"):
        return torch.full_like(sigma, torch.nan)
    if label is None:
        own = torch.zeros_like(sigma).long()
        each = [model.log_density(event, sigma, own + c) for c in range(len(held.classes))]
        log = (torch.stack(each, dim=1) + held.priors.log()).logsumexp(dim=1)
    else:
        log = model.log_density(event, sigma, label)
    return log + event[0].numel() * held.scale.log_volume
