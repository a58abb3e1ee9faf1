"""Clouds of points in few bytes: one path of dots instead of an element for each point."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import PathPatch
from matplotlib.path import Path
from numpy.typing import ArrayLike

from weir.report.drawing.theme import light


def dots(
    axes: Axes,
    x: ArrayLike,
    y: ArrayLike,
    colour: str,
    size: float = 3.0,
    alpha: float = 0.6,
    label: str | None = None,
) -> None:
    """Draw points `x`, `y` (`[point]`) as dots `size` pixels wide; missing ones are left out.

    A dot is a line of no length with round ends, so a thousand of them cost 15 kB. Where dots of
    one call overlap they do not darken. Limits of the axes are widened to hold them.
    """
    places = np.column_stack([np.asarray(x, np.float64), np.asarray(y, np.float64)])
    places = places[np.isfinite(places).all(axis=1)]
    if not len(places):
        return
    path = Path(np.repeat(places, 2, axis=0), np.tile([Path.MOVETO, Path.LINETO], len(places)))
    path.should_simplify = False
    tint = light(colour)
    axes.add_patch(
        PathPatch(path, fill=False, ec=tint, lw=size, alpha=alpha, capstyle="round", zorder=2)
    )
    axes.update_datalim(places)
    axes.autoscale_view()
    # A path has no handle in a legend: an empty line stands for it.
    if label is not None:
        axes.plot([], [], "o", ms=max(size + 1, 5), mew=0, color=tint, alpha=alpha, label=label)


ROUNDS = 6
"""Turns in which clouds are drawn that lie over each other."""


def mingled(
    axes: Axes, clouds: Mapping[str, tuple[ArrayLike, ArrayLike, str]], size: float, alpha: float
) -> None:
    """Draw clouds label -> (x, y, colour) by turns, so that none lies on top of another."""
    for turn in range(ROUNDS):
        for label, (x, y, colour) in clouds.items():
            part = slice(turn, None, ROUNDS)
            some = (np.asarray(x)[part], np.asarray(y)[part])
            dots(axes, *some, colour, size, alpha, label=None if turn else label)


def thin(count: int, most: int) -> np.ndarray:
    """At most `most` of `count` places, evenly spaced, both ends included."""
    if count <= most:
        return np.arange(count)
    return np.unique(np.linspace(0, count - 1, most).round().astype(int))


def apart(
    places: ArrayLike, sizes: ArrayLike, taken: list[tuple[float, float, float, float]]
) -> list[int]:
    """Which labels to print so that none covers another, the first ones first.

    Args:
        places: `[label, 2]`, lower left corners, in pixels.
        sizes: `[label, 2]`, widths and heights.
        taken: boxes (left, bottom, right, top) that are covered already; grows.
    """
    kept = []
    for n, ((left, bottom), (width, height)) in enumerate(
        zip(np.asarray(places), np.asarray(sizes), strict=True)
    ):
        box = (left, bottom, left + width, bottom + height)
        if all(
            box[2] <= other[0] or other[2] <= box[0] or box[3] <= other[1] or other[3] <= box[1]
            for other in taken
        ):
            taken.append(box)
            kept.append(n)
    return kept
