"""Where a cell sits in its tissue: who its neighbours are, and which part of the section it is in.

No expression enters, so that nothing of the answer leaks; raw coordinates do not either, because
they mean nothing across sections.
"""

from __future__ import annotations

import numpy as np
from scipy.spatial import cKDTree

WAVES = (0.5, 1.0)
"""Frequencies of the Fourier features, in cycles over four standard deviations of a section."""


def niche_features(
    positions: np.ndarray, section: np.ndarray, cell_type: np.ndarray, types: int, neighbours: int
) -> np.ndarray:
    """Spatial features of cells.

    Args:
        positions: `[cell, axis]`, any unit.
        section: `[cell]`, sections by any label; cells are neighbours only within one.
        cell_type: `[cell]` int64, 0 for unknown.
        types: number of known cell types.
        neighbours: number of nearest other cells that are looked at.

    Returns:
        `[cell, types + 1 + 2 * axes * waves]` float32: shares of the cell types (unknown first)
        among the neighbours, then sine and cosine of the standardised coordinates.
    """
    axes = positions.shape[1]
    shares = np.zeros((len(positions), types + 1), "float32")
    waves = np.zeros((len(positions), axes, len(WAVES), 2), "float32")
    for name in np.unique(section):
        rows = np.flatnonzero(section == name)
        here = positions[rows]
        count = min(neighbours, len(rows) - 1)
        if count:
            # The nearest of count + 1 need not be the cell itself where positions coincide.
            near = cKDTree(here).query(here, count + 1)[1]
            own = near == np.arange(len(rows))[:, None]
            own[~own.any(1), -1] = True
            others = rows[near[~own].reshape(len(rows), count)]
            for kind in range(types + 1):
                shares[rows, kind] = (cell_type[others] == kind).mean(1)
        spread = here.std(0)
        standard = (here - here.mean(0)) / np.where(spread > 0, spread, 1)
        angle = 2 * np.pi * standard[:, :, None] * np.array(WAVES) / 4
        waves[rows] = np.stack([np.sin(angle), np.cos(angle)], -1)
    return np.concatenate([shares, waves.reshape(len(positions), -1)], 1)
