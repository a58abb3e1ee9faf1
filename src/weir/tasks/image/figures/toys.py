"""Laws in the plane: samples over the data, and the field that leads noise to them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.patches import PathPatch
from matplotlib.path import Path

from weir.report.drawing.figure import Figure, Margins, View, draw
from weir.report.drawing.points import dots, thin
from weir.report.drawing.theme import light
from weir.report.entries import Entry
from weir.report.tables import chosen, drawn
from weir.tasks.image.figures.sheet import RANKING, of_kind

MODELS, BASELINES = 6, 2
POINTS = 450
"""Samples in one panel, and as many points of the data."""
FIELDS = 3
"""Noise levels, a panel each."""
ARROWS = 14
"""Arrows along each axis."""
CONTOURS = ((-0.5, 1.0), (-1.5, 0.8), (-3.5, 0.6), (-7.0, 0.4))
"""Log densities below the greatest at which a line is drawn, and how strong it is."""

Box = tuple[float, float, float, float]


def points(rows: Sequence[Entry]) -> Figure | None:
    """Samples of every model, a panel each."""
    shown = chosen(
        [row for row in rows if not of_kind(row, "points", "sample").empty],
        RANKING,
        MODELS,
        BASELINES,
    )
    if not shown:
        return None
    box = _box([of_kind(row, "points", "data") for row in shown])
    return Figure(
        "Points made",
        "Ochre: points of the test split. In the colour of each model's kind: its samples. All "
        "panels have the same frame.",
        "Samples",
        (View("all", tuple(_points(row, box) for row in shown)),),
    )


def fields(rows: Sequence[Entry]) -> Figure | None:
    """Log density and score at several noise levels, a tab for each model."""
    tables = {row.node: drawn(row, "field") for row in rows}
    shown = [row for row in rows if not tables[row.node].empty]
    shown = chosen(shown, RANKING, MODELS, BASELINES, tables)
    if not shown:
        return None
    return Figure(
        "Fields of scores",
        "Arrows point to where a noised point is likelier (the score, its length drawn in); lines "
        "are contours of the log density, where a model has one. From the least noise to the "
        "most, in deviations of the data. Ochre: the test split. All classes together; a model "
        "that always knows the class shows the first. A gradient of a density crosses its "
        "contours at right angles.",
        "Fields",
        tuple(View(row.label, _fields(row)) for row in shown),
    )


def _box(tables: Sequence[pd.DataFrame]) -> Box | None:
    """A frame that holds all points, with some room; None where there are none."""
    every = pd.concat(list(tables))[["x", "y"]].dropna() if tables else pd.DataFrame()
    if every.empty:
        return None
    low, high = every.min(), every.max()
    room = 0.1 * (high - low).clip(lower=1e-6)
    low, high = low - room, high + room
    return float(low["x"]), float(high["x"]), float(low["y"]), float(high["y"])


MARGINS = Margins(left=6, right=6, bottom=6)


def _height(box: Box | None) -> float:
    """Height of a panel 290 wide in which both coordinates have one scale."""
    shape = 1.0 if box is None else (box[3] - box[2]) / (box[1] - box[0])
    return (290 - MARGINS.left - MARGINS.right) * shape + MARGINS.top + MARGINS.bottom


def _points(row: Entry, box: Box | None) -> str:
    data, made = (of_kind(row, "points", kind) for kind in ("data", "sample"))

    def paint(axes: Axes) -> None:
        _cloud(axes, data, "ceiling", 4.0, 0.35)
        _cloud(axes, made, row.kind, 2.2, 0.85)
        _frame(axes, box)
        axes.set_title(row.label)

    outside = _outside(made, box)
    more = f"; {outside} of {len(made)} lie outside the frame" if outside else ""
    return draw(
        paint,
        f"Samples of {row.label} over the test points{more}",
        290,
        _height(box),
        MARGINS,
    )


def _outside(table: pd.DataFrame, box: Box | None) -> int:
    if box is None:
        return 0
    inside = table["x"].between(box[0], box[1]) & table["y"].between(box[2], box[3])
    return int((~inside).sum())


def _cloud(axes: Axes, table: pd.DataFrame, colour: str, size: float, alpha: float) -> None:
    if not table.empty:
        part = table.iloc[thin(len(table), POINTS)]
        dots(axes, part["x"], part["y"], colour, size, alpha)


def _frame(axes: Axes, box: Box | None) -> None:
    if box is not None:
        axes.set_xlim(box[0], box[1])
        axes.set_ylim(box[2], box[3])
    axes.set_aspect("equal")
    axes.set_xticks([])
    axes.set_yticks([])
    axes.spines["bottom"].set_visible(False)


def _fields(row: Entry) -> tuple[str, ...]:
    table = drawn(row, "field")
    sigmas = sorted(table["sigma"].unique())
    # Under more noise than the data's own deviation a frame of the data shows its middle only.
    sigmas = [sigma for sigma in sigmas if sigma <= 1] or sigmas
    sigmas = [sigmas[n] for n in thin(len(sigmas), FIELDS)]
    data = of_kind(row, "points", "data")
    return tuple(
        _field(row, float(sigma), table[table["sigma"] == sigma], data) for sigma in sigmas
    )


def _field(row: Entry, sigma: float, table: pd.DataFrame, data: pd.DataFrame) -> str:
    table = table.sort_values(["y", "x"])
    x, y = (np.sort(table[name].unique()) for name in ("x", "y"))
    shape = (len(y), len(x))
    density = table["log_density"].to_numpy(np.float64).reshape(shape)
    known = bool(np.isfinite(density).any())

    def paint(axes: Axes) -> None:
        _cloud(axes, data.iloc[::2], "ceiling", 2.6, 0.4)
        if known:
            height = np.nan_to_num(density - np.nanmax(density), nan=-99.0, neginf=-99.0)
            for level, strength in CONTOURS:
                if height.min() < level:
                    _contour(axes, x, y, height, level, strength)
        _arrows(axes, table, x, y, row.kind)
        _frame(axes, (x[0], x[-1], y[0], y[-1]))
        axes.set_title(f"σ {sigma:.3g}" + ("" if known else ", no density"))

    what = "Score and contours of the log density" if known else "Field"
    return draw(
        paint,
        f"{what} of {row.label} at noise {sigma:.3g}",
        290,
        _height((x[0], x[-1], y[0], y[-1])),
        MARGINS,
    )


def _contour(
    axes: Axes, x: np.ndarray, y: np.ndarray, height: np.ndarray, level: float, strength: float
) -> None:
    """One line, without the points that make no difference to the eye."""
    found = axes.contour(x, y, height, [level])
    (path,) = found.get_paths()
    found.remove()
    path.should_simplify = True
    axes.add_patch(PathPatch(path, fill=False, ec=light("ink"), lw=1.1, alpha=strength, zorder=2))


def _arrows(axes: Axes, table: pd.DataFrame, x: np.ndarray, y: np.ndarray, colour: str) -> None:
    """Arrows at some places of the grid as one path; long scores are drawn in."""
    pitch = max(np.ptp(x), np.ptp(y)) / ARROWS
    some = table["x"].isin(_every(x, pitch)) & table["y"].isin(_every(y, pitch))
    table = table[some & np.isfinite(table["u"]) & np.isfinite(table["v"])]
    start = table[["x", "y"]].to_numpy(np.float64)
    vector = table[["u", "v"]].to_numpy(np.float64)
    length = np.linalg.norm(vector, axis=1, keepdims=True)
    if not len(start) or not length.max():
        return
    # Half of the arrows are shorter than half the pitch, none is longer than it.
    shown = vector / np.maximum(length, 1e-12) * pitch * length / (length + np.median(length))
    tip = start + shown
    side = np.stack([-shown[:, 1], shown[:, 0]], axis=1)
    corners = [start, tip, tip - 0.34 * shown + 0.2 * side, tip, tip - 0.34 * shown - 0.2 * side]
    path = Path(
        np.stack(corners, axis=1).reshape(-1, 2),
        np.tile([Path.MOVETO, Path.LINETO, Path.LINETO, Path.MOVETO, Path.LINETO], len(start)),
    )
    path.should_simplify = False
    axes.add_patch(PathPatch(path, fill=False, ec=light(colour), lw=1.1, alpha=0.9, zorder=3))


def _every(places: np.ndarray, pitch: float) -> np.ndarray:
    """Of sorted places some that are about `pitch` apart, as many left out before as behind."""
    step = max(round(pitch * (len(places) - 1) / max(np.ptp(places), 1e-9)), 1)
    return places[(len(places) - 1) % step // 2 :: step]
