"""The intrinsic latent of stage 1: cell types should part in it, batches should not."""

from __future__ import annotations

import math
from collections.abc import Sequence

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from weir.report.drawing.curves import MARKERS, shorten
from weir.report.drawing.figure import Figure, Margins, View, draw
from weir.report.drawing.numbers import number
from weir.report.drawing.points import mingled, thin
from weir.report.drawing.theme import light
from weir.report.entries import Entry, definitions
from weir.report.tables import folds

AUC, BEFORE = "batch_auc", "batch_auc_expression"
CHANCE = 0.5
POINTS = 1500
"""Cells in one panel."""
PALETTE = ("teacher", "evaluate", "stage1", "joint", "ceiling", "student", "flow", "baseline")
"""Theme colours of categories, the most frequent one first; what is left shares the last."""


def latent(rows: Sequence[Entry]) -> Figure | None:
    """A plane of the intrinsic latent, by batch and by cell type, for each encoder."""
    views = []
    for row in rows:
        table = folds(row, "latent")
        if table.empty:
            continue
        table = table[table["fold"] == table["fold"].iloc[0]].dropna(subset=["x", "y"])
        panels = [
            _plane(row, table, column, title)
            for column, title in (("batch", _batches(row)), ("cell_type", "by cell type"))
            if column in table and table[column].nunique() > 0
        ]
        if panels:
            views.append(View(row.label, tuple(panels)))
    measured = [row for row in rows if row.statistic(AUC).known]
    if measured:
        label = definitions(measured)[AUC].heading
        views.append(View(label, (_aucs(measured, label),)))
    if not views:
        return None
    return Figure(
        "The intrinsic latent",
        "Cells of every batch should lie among each other, cells of one type beside each other. "
        f"A classifier that cannot tell batches apart has an AUC of {CHANCE:g} (chance). Two "
        "dimensions of many: what looks mixed need not be, the AUC is of the whole latent. "
        "Hollow: the AUC of expression itself, that is what there was to remove.",
        "Latent space",
        tuple(views),
    )


def _batches(row: Entry) -> str:
    auc = row.statistic(AUC)
    if not auc.known:
        return "by batch"
    return f"by batch, AUC {number(auc.mean, 2)} (chance {CHANCE:g})"


def _plane(row: Entry, table: pd.DataFrame, column: str, title: str) -> str:
    table = table.iloc[thin(len(table), POINTS)]
    values = table[column].astype(str)
    counts = values.value_counts()
    names = sorted(counts.index, key=lambda name: (-counts[name], name))
    if len(names) > len(PALETTE):
        rest = names[len(PALETTE) - 1 :]
        names = [*names[: len(PALETTE) - 1], f"{len(rest)} others"]
        values = values.where(~values.isin(rest), names[-1])
    lines = math.ceil(len(names) / 2)

    def paint(axes: Axes) -> None:
        layers = {}
        for name, colour in zip(names, PALETTE, strict=False):
            part = table[values == name]
            layers[shorten(name, 24)] = (part["x"], part["y"], colour)
        mingled(axes, layers, 3.2, 0.75)
        axes.margins(0.04)
        axes.set_xticks([])
        axes.set_yticks([])
        axes.spines["bottom"].set_visible(False)
        axes.set_title(title)
        axes.figure.legend(
            *axes.get_legend_handles_labels(),
            loc="lower left",
            ncols=2,
            handletextpad=0.1,
            borderaxespad=0,
        )

    return draw(
        paint,
        f"Intrinsic latent of {row.label}, {title}: {', '.join(names)}",
        430,
        300 + 18 * lines,
        Margins(left=8, right=8, bottom=14 + 18 * lines),
    )


def _aucs(rows: Sequence[Entry], label: str) -> str:
    labels = [shorten(row.label, 40) for row in rows]

    def paint(axes: Axes) -> None:
        axes.axvline(CHANCE, color=light("ink"), lw=1, ls=(0, (4, 3)))
        for n, row in enumerate(rows):
            seeds = row.by_seed(AUC)
            axes.plot(seeds, [n] * len(seeds), "o", ms=3.6, mew=0, alpha=0.5, color=light(row.kind))
            axes.plot(
                [row.statistic(AUC).mean],
                [n],
                MARKERS[row.kind],
                ms=8,
                mew=0,
                color=light(row.kind),
            )
        for n, row in enumerate(rows):
            before = row.statistic(BEFORE)
            if before.known:
                axes.plot(
                    [before.mean],
                    [n],
                    MARKERS[row.kind],
                    ms=8,
                    mew=1.5,
                    color=light(row.kind),
                    mfc=light("card"),
                )
        axes.text(CHANCE, -0.62, " chance", va="bottom", fontsize=10, color=light("soft"))
        axes.grid(axis="y", visible=False)
        axes.set_yticks(range(len(labels)), labels)
        axes.set_ylim(len(rows) - 0.4, -0.6)
        axes.set_xlim(0.4, 1.02)
        axes.xaxis.set_major_locator(MaxNLocator(7))
        axes.set_xlabel(label)

    words = "; ".join(f"{row.label} {number(row.statistic(AUC).mean, 3)}" for row in rows)
    return draw(
        paint,
        f"{label} against chance: {words}",
        860,
        76 + 28 * len(rows),
        Margins(left=14 + 6.0 * max(map(len, labels)), right=18, bottom=46, top=22),
    )
