"""Raw points to a processed folder: `points.npy` and `schema.json`."""

from pathlib import Path

import numpy as np

from weir.artifacts.raw_folder import RawFolder
from weir.tasks.points.data.schema import Schema
from weir.tasks.points.settings.sections import Dataset


def preprocess(config: Dataset, raw: Path, output: Path) -> None:
    """Split the points, which are in random order."""
    points = np.loadtxt(raw / RawFolder.read(raw).main.name, dtype="float32")
    np.save(output / "points.npy", points[:, None])
    first, second, end = (len(points) * share // 10 for share in (7, 8, 10))
    splits = {"train": (0, first), "validation": (first, second), "test": (second, end)}
    Schema("points", splits).save(output)
