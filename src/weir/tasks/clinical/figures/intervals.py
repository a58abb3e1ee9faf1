"""Figures of risk models beside chance: scores with intervals, ROC and precision-recall curves.

Intervals tell what another sample of patients would move a score by; curves what a threshold on the
risk would do.
"""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from weir.report.drawing.curves import MARKERS, dashes, shorten
from weir.report.drawing.figure import Figure, Margins, View, draw
from weir.report.drawing.numbers import number
from weir.report.drawing.theme import light
from weir.report.entries import Entry, definitions, ranked
from weir.report.tables import averaged, shown

CURVES = {
    "roc": ("ROC", "auroc", "false_positive_rate", "sensitivity"),
    "precision_recall": ("Precision and recall", "auprc", "recall", "precision"),
}
"""By table: the tab's name, the score that is the area, and the axes."""


def operating(rows: Sequence[Entry]) -> Figure | None:
    """Both curves of the best model of each kind and of the best baselines."""
    known = definitions(rows)
    views = []
    for table, (name, metric, x, y) in CURVES.items():
        curves = {
            row.node: averaged(row, table, [x], [y, "low", "high"])
            for row in shown(rows, metric, known)
        }
        best = [row for row in shown(rows, metric, known) if not curves[row.node].empty]
        if best:
            views.append(View(name, (_panel(best, curves, metric, x, y),)))
    if not views:
        return None
    return Figure(
        "What a threshold would do",
        "The best model of each kind and the best baselines; averaged over seeds and splits. Bands "
        "hold 95 % of the curves of resampled subjects of one split. Dashed: chance. Where the "
        "outcome is rare, precision shows what the ROC curve hides.",
        "Results",
        tuple(views),
    )


def _panel(
    rows: Sequence[Entry], curves: dict[str, pd.DataFrame], metric: str, x: str, y: str
) -> str:
    styles = dashes(rows)
    scores = {row.node: number(row.statistic(metric).mean, 3) for row in rows}

    def paint(axes: Axes) -> None:
        if metric == "auroc":
            axes.plot([0, 1], [0, 1], color=light("faint"), lw=1, ls=(0, (4, 3)))
        elif (rate := _rate(rows)) is not None:
            axes.axhline(rate, color=light("faint"), lw=1, ls=(0, (4, 3)))
        for row in rows:
            table, colour = curves[row.node], light(row.kind)
            axes.fill_between(table[x], table["low"], table["high"], color=colour, alpha=0.1, lw=0)
            axes.plot(
                table[x],
                table[y],
                color=colour,
                ls=styles[row.node],
                label=f"{shorten(row.label, 34)}  {scores[row.node]}",
            )
        axes.set_xlim(0, 1)
        axes.set_ylim(0, 1.01)
        axes.set_xlabel(x.replace("_", " "))
        axes.set_ylabel(y)
        axes.legend(loc="center left", bbox_to_anchor=(1.02, 0.5), borderaxespad=0)

    words = "; ".join(f"{row.label} {scores[row.node]}" for row in rows)
    return draw(
        paint,
        f"{y} against {x.replace('_', ' ')}, area under the curve: {words}",
        720,
        360,
        Margins(left=52, right=310, bottom=46, top=10),
    )


def _rate(rows: Sequence[Entry]) -> float | None:
    """Share of records with the outcome, over the first model's runs."""
    found = [run.protocol for run in rows[0].runs if run.protocol.get("records")]
    if not found:
        return None
    return sum(each["positives"] for each in found) / sum(each["records"] for each in found)


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
