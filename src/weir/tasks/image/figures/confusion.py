"""Confusion of classes: the class asked for against the class that the classifier sees."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.patches import PathPatch
from matplotlib.path import Path

from weir.report.drawing.curves import shorten
from weir.report.drawing.figure import Figure, Margins, View, draw
from weir.report.drawing.theme import light
from weir.report.entries import Entry
from weir.report.tables import chosen
from weir.tasks.image.figures.sheet import RANKING, words

MODELS, BASELINES = 4, 2
"""Models with a panel of their own."""
LEVELS = (0.005, 0.02, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 0.95)
"""Shares from which on a square is darker; smaller ones are not drawn."""
NAMED = 12
"""Up to so many classes the shares on the diagonal are printed."""


def confusion(rows: Sequence[Entry]) -> Figure | None:
    """A matrix for each model, side by side."""
    found = {row.node: shares(row) for row in rows}
    shown = chosen([row for row in rows if not found[row.node].empty], RANKING, MODELS, BASELINES)
    if not shown:
        return None
    return Figure(
        "Classes asked for and classes seen",
        "Rows: the class that was asked for; columns: the class that a classifier trained on the "
        "training pictures takes the samples for. Darker squares are larger shares of the row, "
        "on the diagonal in per cent; small shares are drawn darker than they are, so that they "
        "can be seen. A pale column is a class that is missing. Mean over seeds.",
        "Samples",
        (View("all", tuple(_matrix(row, found[row.node]) for row in shown)),),
    )


def shares(row: Entry) -> pd.DataFrame:
    """Share of the samples of each class asked for (rows) that are judged to be of each class."""
    tables = [run.tables["confusion"] for run in row.runs if "confusion" in run.tables]
    if not tables:
        return pd.DataFrame()
    table = pd.concat(tables)
    order = list(dict.fromkeys([*table["asked"], *table["judged"]]))
    counts = table.groupby(["asked", "judged"], sort=False)["count"].sum().unstack(fill_value=0)
    counts = counts.reindex(index=order, columns=order, fill_value=0)
    return counts.div(counts.sum(axis=1).clip(lower=1), axis=0)


def _matrix(row: Entry, table: pd.DataFrame) -> str:
    values = table.to_numpy(np.float64)
    count = len(values)
    labels = [shorten(word, 10) for word in words(list(table.index))]
    right = float(np.trace(values)) / count

    def paint(axes: Axes) -> None:
        for n, level in enumerate(LEVELS):
            above = LEVELS[n + 1] if n + 1 < len(LEVELS) else 2.0
            places = np.argwhere((values >= level) & (values < above))
            if len(places):
                _squares(axes, places, row.kind, (n + 1) / len(LEVELS))
        for n in range(count if count <= NAMED else 0):
            dark = values[n, n] >= LEVELS[5]
            axes.text(
                n,
                n,
                f"{100 * values[n, n]:.0f}",
                ha="center",
                va="center",
                fontsize=9,
                color=light("card" if dark else "ink"),
            )
        axes.set_xlim(-0.5, count - 0.5)
        axes.set_ylim(count - 0.5, -0.5)
        axes.set_aspect("equal", anchor="NW")
        axes.grid(False)
        axes.spines["bottom"].set_visible(False)
        places = range(0, count, -(-count // 20))
        axes.set_yticks(places, [labels[n] for n in places])
        upright = max(map(len, labels)) > 2
        axes.set_xticks(places, [labels[n] for n in places], rotation=90 if upright else 0)
        axes.set_title(f"{shorten(row.label, 26)}, {100 * right:.1f} %")

    side = 14 + 6.0 * max(map(len, labels))
    below = side if max(map(len, labels)) > 2 else 24
    return draw(
        paint,
        f"Classes asked of {row.label} and classes seen in its samples: {100 * right:.1f} per "
        f"cent agree; {_weakest(table)}",
        side + 264,
        below + 286,
        Margins(left=side, right=4, bottom=below, top=26),
    )


def _weakest(table: pd.DataFrame) -> str:
    """The class that is met least, in words."""
    met = pd.Series(np.diag(table.to_numpy(np.float64)), index=table.index)
    (name,) = words([met.idxmin()])
    return f"least of class {name}, {100 * float(met.min()):.0f} per cent"


def _squares(axes: Axes, places: np.ndarray, colour: str, alpha: float) -> None:
    """Unit squares at `places` (`[square, (row, column)]`) as one path."""
    corners = np.array([[-0.47, -0.47], [0.47, -0.47], [0.47, 0.47], [-0.47, 0.47], [0, 0]])
    points = (places[:, None, ::-1] + corners).reshape(-1, 2)
    codes = [Path.MOVETO, Path.LINETO, Path.LINETO, Path.LINETO, Path.CLOSEPOLY]
    path = Path(points, np.tile(codes, len(places)))
    axes.add_patch(PathPatch(path, fc=light(colour), ec="none", lw=0, alpha=alpha, zorder=1))
