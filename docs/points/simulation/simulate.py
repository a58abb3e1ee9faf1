"""Points whose law is known."""

from pathlib import Path

import numpy as np

from weir.tasks.points.settings.sections import Simulation


def simulate(settings: Simulation, folder: Path) -> list[str]:
    """Write points, one a line; returns the names of the files."""
    random = np.random.default_rng(settings.seed)
    means = settings.apart * random.choice([-0.5, 0.5], settings.points)
    np.savetxt(folder / "points.csv", random.normal(means))
    return ["points.csv"]
