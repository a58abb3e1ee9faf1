"""Nearest neighbours of samples among training pictures, and distances: does a model copy?"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from weir.report.drawing.figure import Figure, Margins, View, draw
from weir.report.drawing.numbers import number
from weir.report.drawing.theme import light
from weir.report.entries import Entry
from weir.report.tables import chosen, drawn
from weir.tasks.image.figures.sheet import RANKING, Grid, Picture, lines, of_kind, sheet

MODELS, BASELINES = 6, 1
"""Models with a tab of their own."""
PAIRS = 16
"""Samples with their neighbours, in rows of at most 8."""
BINS = 24


def neighbours(rows: Sequence[Entry]) -> Figure | None:
    """Pairs of a sample and its nearest training picture, and the distances of all."""
    shown = [row for row in rows if _has(row)]
    shown = chosen(shown, RANKING, MODELS, BASELINES)
    if not shown:
        return None
    top = _reach(shown)
    pictured = any(not of_kind(row, "pictures", "neighbour").empty for row in shown)
    if not pictured:
        panels = tuple(_distances(row, top, 290, row.label) for row in shown)
        return Figure("Nearest training items", DISTANCES, SECTION, (View("all", panels),))
    views = []
    for row in shown:
        panels = (_distances(row, top, 430),) if not drawn(row, "nearest").empty else ()
        if not of_kind(row, "pictures", "neighbour").empty:
            panels = (_pairs(row), *panels)
        views.append(View(row.label, panels))
    return Figure(
        "Nearest training items",
        f"Samples and below each the training picture that is nearest to it. {DISTANCES}",
        SECTION,
        tuple(views),
    )


SECTION = "Memorisation"
DISTANCES = (
    "Histogram: distances of samples (colour) and of the test split (line) to their nearest "
    "training items. Samples that lie nearer than the test split does are copies of what was "
    "learnt from. The last bar holds all that are farther off."
)

FAR = 2.0
"""The axis ends at so many times what nearly all test pictures have, if not before."""


def _reach(rows: Sequence[Entry]) -> float:
    """Greatest distance that is drawn, so that one model's nonsense squeezes no other."""

    def nearly_all(kind: str) -> float:
        parts = [of_kind(row, "nearest", kind) for row in rows]
        every = np.concatenate([part["distance"] for part in parts if len(part)] or [[0.0]])
        return float(np.quantile(every, 0.995))

    made, test = nearly_all("sample"), nearly_all("test")
    return 1.05 * (max(min(made, FAR * test), test) if test else made) or 1.0


def _has(row: Entry) -> bool:
    return not (of_kind(row, "pictures", "neighbour").empty and drawn(row, "nearest").empty)


def _pairs(row: Entry) -> str:
    pairs = lines(of_kind(row, "pictures", "neighbour"))[:PAIRS]
    pictures: list[list[Picture | None]] = []
    columns = -(-len(pairs) // -(-len(pairs) // 8))
    for start in range(0, len(pairs), columns):
        part = pairs[start : start + columns]
        pictures += [[pair[0] for pair in part], [pair[1] for pair in part]]
    labels = ["sample", "nearest"] * (len(pictures) // 2)
    return sheet(
        [Grid(pictures, labels)],
        f"{len(pairs)} samples of {row.label} and the training pictures nearest to them",
        width=430,
        largest=64,
    )


def _distances(row: Entry, top: float, width: float, title: str = "") -> str:
    table = drawn(row, "nearest")
    made, test = (
        table.loc[table["kind"] == kind, "distance"].to_numpy() for kind in ("sample", "test")
    )
    edges = np.linspace(0, top, BINS + 1)

    def paint(axes: Axes) -> None:
        for values, colour, label, style in (
            (made, row.kind, "samples", "stepfilled"),
            (test, "ink", "test split", "step"),
        ):
            if len(values):
                axes.hist(
                    np.minimum(values, top),
                    edges,
                    weights=np.full(len(values), 100 / len(values)),
                    histtype=style,
                    color=light(colour),
                    alpha=0.75 if style == "stepfilled" else 1.0,
                    lw=0 if style == "stepfilled" else 1.4,
                    label=label,
                )
        axes.set_xlim(0, top)
        axes.grid(axis="x", visible=False)
        axes.set_xlabel("distance to the nearest training item")
        axes.set_title(title)
        axes.xaxis.set_major_locator(MaxNLocator(6 if width > 400 else 4))
        axes.set_ylabel("per cent")
        axes.figure.legend(
            *axes.get_legend_handles_labels(), loc="lower left", ncols=2, borderaxespad=0
        )

    medians = [float(np.median(values)) if len(values) else np.nan for values in (made, test)]
    return draw(
        paint,
        f"Distances of samples of {row.label} to training items, median "
        f"{number(medians[0], 3)}; of the test split {number(medians[1], 3)}",
        width,
        0.45 * width + 100,
        Margins(left=46, bottom=66, top=26 if title else 12),
    )
