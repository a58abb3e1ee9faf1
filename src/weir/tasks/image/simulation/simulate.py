"""A toy's points, drawn from its exact law."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import torch

from weir.tasks.image.settings.simulator import Simulation
from weir.tasks.image.simulation.toys import law_of

POINTS, TRUTH = "points.npz", "truth.json"
"""Files of a raw folder with simulated points."""


def simulate(settings: Simulation, folder: Path) -> list[str]:
    """Write points in classes of equal size, in random order, and the settings of their law.

    Returns the names of the files.
    """
    law = law_of(settings.model_dump())
    generator = torch.Generator().manual_seed(settings.seed)
    order = torch.randperm(settings.points, generator=generator)
    label = order % len(law.classes)
    points = law.sample(label, generator)
    np.savez(folder / POINTS, points=points.numpy(), labels=label.numpy())
    (folder / TRUTH).write_text(json.dumps(settings.model_dump(), indent=1) + "\n")
    return [POINTS, TRUTH]
