"""Samples of every class, beside pictures of the data."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from weir.report.curves import shorten
from weir.report.entries import Entry
from weir.report.figure import Figure, View
from weir.tasks.image.figure_sheet import Grid, blocks, sheet
from weir.tasks.image.figure_tables import chosen, lines, of_kind, words

MODELS, BASELINES = 10, 2
"""Models with a tab of their own."""
CLASSES = 20
"""Classes that are shown; of more, some that are spread over their order."""
RATIO = 2.6
"""Width over height of a sheet that suits the page."""
PIXELS = 160_000
"""Most numbers in one sheet: large pictures in colour get fewer columns."""


def samples(rows: Sequence[Entry]) -> Figure | None:
    """Pictures of the data first, then a tab for each model."""
    shown = [row for row in rows if not of_kind(row, "pictures", "sample").empty]
    shown = chosen(shown, MODELS, BASELINES)
    views = []
    for row in rows:
        if not (data := of_kind(row, "pictures", "data")).empty:
            views.append(View("Data", (_sheet(data, "Pictures of the test split"),)))
            break
    for row in shown:
        made = of_kind(row, "pictures", "sample")
        views.append(View(row.label, (_sheet(made, f"Samples of {row.label}"),)))
    if not shown:
        return None
    return Figure(
        "Samples",
        "Pictures of each class: of the test split, then of every model. They are the first "
        "samples of the smallest seed, not chosen. Shades are rounded for the page.",
        "Samples",
        tuple(views),
    )


def _sheet(table: pd.DataFrame, alt: str) -> str:
    classes = sorted(table["row"].unique())
    if len(classes) > CLASSES:
        classes = [classes[n * len(classes) // CLASSES] for n in range(CLASSES)]
        table = table[table["row"].isin(classes)]
    pictures = lines(table)
    one = next(item for line in pictures for item in line if item is not None)
    columns = max(PIXELS // (one.size * len(pictures)), 3)
    pictures = [line[:columns] for line in pictures]
    labels = [shorten(word, 14) for word in words(list(table.groupby("row")["label"].first()))]
    count = blocks(len(pictures), len(pictures[0]), RATIO * one.shape[0] / one.shape[1])
    each = -(-len(pictures) // count)
    grids = [
        Grid(pictures[start : start + each], labels[start : start + each])
        for start in range(0, len(pictures), each)
    ]
    names = ", ".join(label for label in labels if label)
    return sheet(grids, f"{alt}, {len(pictures[0])} of each class: {names}")
