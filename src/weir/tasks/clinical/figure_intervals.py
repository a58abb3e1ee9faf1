"""Scores of all risk models with what chance alone would move them by."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from weir.report.curves import MARKERS, shorten
from weir.report.entries import Entry, definitions, ranked
from weir.report.figure import Figure, Margins, View, draw
from weir.report.numbers import number
from weir.report.theme import light
from weir.tasks.clinical.figure_tables import averaged

METRICS = ("auroc", "auprc", "brier", "calibration_error", "nll", "accuracy")


def intervals(rows: Sequence[Entry]) -> Figure | None:
    """Each model's score and its 95 % interval, a tab for each score."""
    known = definitions(rows)
    columns = ["value", "low", "high"]
    tables = {row.node: averaged(row, "scores", ["metric"], columns) for row in rows}
    views = []
    for metric in METRICS:
        if metric not in known:
            continue
        found = {node: _line(table, metric) for node, table in tables.items()}
        order = ranked(rows, metric, known[metric])
        best = [row for row in order if found[row.node] is not None]
        if best:
            label = known[metric].heading
            views.append(View(label, (_forest(best, found, label),)))
    if not views:
        return None
    return Figure(
        "Scores with intervals",
        "Bars hold 95 % of the scores of resampled subjects of one split, averaged over seeds and "
        "splits: how far another sample of patients could move a score. All models are scored on "
        "the same patients, so two of them can differ surely although their bars overlap.",
        "Results",
        tuple(views),
    )


def _line(table: pd.DataFrame, metric: str) -> pd.Series | None:
    if table.empty:
        return None
    found = table[table["metric"] == metric]
    return found.iloc[0] if len(found) and pd.notna(found["value"].iloc[0]) else None


def _forest(rows: Sequence[Entry], found: dict[str, pd.Series | None], label: str) -> str:
    labels = [shorten(row.label, 40) for row in rows]
    lines = [found[row.node] for row in rows]

    def paint(axes: Axes) -> None:
        for n, (row, line) in enumerate(zip(rows, lines, strict=True)):
            colour = light(row.kind)
            axes.plot([line["low"], line["high"]], [n, n], color=colour, lw=1.6)
            axes.plot([line["value"]], [n], MARKERS[row.kind], ms=7, mew=0, color=colour)
        axes.grid(axis="y", visible=False)
        axes.set_yticks(range(len(rows)), labels)
        axes.set_ylim(len(rows) - 0.4, -0.6)
        axes.xaxis.set_major_locator(MaxNLocator(7))
        axes.set_xlabel(label)

    words = "; ".join(
        f"{row.label} {number(line['value'], 3)} ({number(line['low'], 3)} to "
        f"{number(line['high'], 3)})"
        for row, line in zip(rows, lines, strict=True)
    )
    return draw(
        paint,
        f"{label} with 95 % intervals: {words}",
        860,
        58 + 25 * len(rows),
        Margins(left=14 + 6.0 * max(map(len, labels)), right=18, bottom=46, top=8),
    )
