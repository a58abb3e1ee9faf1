"""Figures of pictures: samples of every class beside the data, noised pictures with what a model
makes of them, and how samples come out of noise.
"""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from weir.report.drawing.curves import shorten
from weir.report.drawing.figure import Figure, View
from weir.report.drawing.points import thin
from weir.report.entries import Entry
from weir.report.tables import chosen
from weir.tasks.image.figures.sheet import (
    RANKING,
    Grid,
    Picture,
    blocks,
    lines,
    of_kind,
    sheet,
    words,
)

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
    shown = chosen(shown, RANKING, MODELS, BASELINES)
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


STRIP_MODELS, STRIP_BASELINES = 6, 2
"""Models with a tab of their own."""
EXAMPLES, STEPS = 4, 14
"""Pictures and columns of one strip."""


def denoised(rows: Sequence[Entry]) -> Figure | None:
    """The same pictures under ever more noise, and a model's mean of what they may have been."""
    answers = {row.node: of_kind(row, "pictures", "denoise") for row in rows}
    shown = [row for row in rows if not answers[row.node].empty]
    shown = chosen(shown, RANKING, STRIP_MODELS, STRIP_BASELINES, answers)
    if not shown:
        return None
    return Figure(
        "What is left under noise",
        "Test pictures with noise added and below them the denoiser's answer, the mean of all "
        "pictures of the class that could be underneath. Above the columns: the noise in "
        "deviations of the data; noisy pictures have the contrast of the data. With much noise "
        "the answer is to become the mean of the class, not a sharp picture.",
        "Denoising",
        tuple(View(row.label, (_denoised(row),)) for row in shown),
    )


def _denoised(row: Entry) -> str:
    below = of_kind(row, "pictures", "denoise")
    above = of_kind(row, "pictures", "noisy")
    below, above = (_first(table, EXAMPLES) for table in (below, above))
    answers = lines(below)
    noisy = lines(above) if not above.empty else []
    heads = _heads(below, "σ ")
    grids = []
    for start in range(0, len(answers), 2):
        pictures: list[Sequence[Picture | None]] = []
        labels = []
        for n in range(start, min(start + 2, len(answers))):
            if n < len(noisy):
                pictures.append(noisy[n])
                labels.append("noisy")
            pictures.append(answers[n])
            labels.append("denoised")
        grids.append(Grid(pictures, () if start else labels, heads))
    alt = f"Test pictures with noise, and denoised by {row.label}; noise {', '.join(heads)}"
    return sheet(grids, alt, largest=60)


def trajectories(rows: Sequence[Entry]) -> Figure | None:
    """From noise to a sample, step by step."""
    shown = [row for row in rows if not of_kind(row, "pictures", "trajectory").empty]
    shown = chosen(shown, RANKING, STRIP_MODELS, 0)
    if not shown:
        return None
    return Figure(
        "From noise to a sample",
        "States of the solver from the noise on the left to the sample on the right, at some of "
        "its steps, drawn with the contrast of the data. Above the columns: noise over data.",
        "Samples",
        tuple(View(row.label, (_trajectory(row),)) for row in shown),
    )


def _trajectory(row: Entry) -> str:
    table = _first(of_kind(row, "pictures", "trajectory"), EXAMPLES)
    steps = sorted(table["column"].unique())
    table = table[table["column"].isin([steps[n] for n in thin(len(steps), STEPS)])]
    labels = [shorten(word, 12) for word in words(list(table.groupby("row")["label"].first()))]
    alt = f"States of {row.label} on the way from noise to samples of {', '.join(labels)}"
    return sheet([Grid(lines(table), labels, _heads(table, ""))], alt, largest=68)


def _first(table: pd.DataFrame, most: int) -> pd.DataFrame:
    """The rows that stand first."""
    if table.empty:
        return table
    return table[table["row"].isin(sorted(table["row"].unique())[:most])]


def _heads(table: pd.DataFrame, unit: str) -> list[str]:
    """The `value` of each column as its heading."""
    values = table.groupby("column", sort=True)["value"].first()
    # Rounding errors of angles leave some -1e-8 at the end of a way; at its start is no data yet.
    shown = [abs(round(float(value), 6)) for value in values]
    return ["∞" if value != value else f"{unit}{value:.3g}" for value in shown]
