"""Whether a model copies: samples beside the training pictures nearest to them, and distances."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes

from weir.report.entries import Entry
from weir.report.figure import Figure, Margins, View, draw
from weir.report.numbers import number
from weir.report.theme import light
from weir.tasks.image.figure_sheet import Grid, Picture, sheet
from weir.tasks.image.figure_tables import chosen, drawn, lines, of_kind

MODELS, BASELINES = 6, 1
"""Models with a tab of their own."""
PAIRS = 16
"""Samples with their neighbours, in rows of at most 8."""
BINS = 24


def neighbours(rows: Sequence[Entry]) -> Figure | None:
    """Pairs of a sample and its nearest training picture, and the distances of all."""
    shown = [row for row in rows if _has(row)]
    shown = chosen(shown, MODELS, BASELINES)
    if not shown:
        return None
    every = np.concatenate([drawn(row, "nearest").get("distance", []) for row in shown])
    top = float(np.quantile(every, 0.995)) * 1.05 if len(every) else 1.0
    views = []
    for row in shown:
        panels = []
        if not of_kind(row, "pictures", "neighbour").empty:
            panels.append(_pairs(row))
        if not drawn(row, "nearest").empty:
            panels.append(_distances(row, top))
        views.append(View(row.label, tuple(panels)))
    return Figure(
        "Nearest training pictures",
        "Samples and below each the training picture that is nearest to it. Right: distances of "
        "samples (colour) and of test pictures (line) to their nearest training pictures. Samples "
        "that lie nearer than test pictures do are copies of what was learnt from.",
        "Memorisation",
        tuple(views),
    )


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


def _distances(row: Entry, top: float) -> str:
    table = drawn(row, "nearest")
    made, test = (
        table.loc[table["kind"] == kind, "distance"].to_numpy() for kind in ("sample", "test")
    )
    edges = np.linspace(0, top, BINS + 1)

    def paint(axes: Axes) -> None:
        for values, colour, label, style in (
            (made, row.kind, "samples", "stepfilled"),
            (test, "ink", "test pictures", "step"),
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
        axes.set_xlabel("distance to the nearest training picture")
        axes.set_ylabel("per cent")
        axes.figure.legend(
            *axes.get_legend_handles_labels(), loc="lower left", ncols=2, borderaxespad=0
        )

    medians = [float(np.median(values)) if len(values) else np.nan for values in (made, test)]
    return draw(
        paint,
        f"Distances of samples of {row.label} to training pictures, median "
        f"{number(medians[0], 3)}; of test pictures {number(medians[1], 3)}",
        430,
        300,
        Margins(left=46, bottom=66, top=12),
    )
