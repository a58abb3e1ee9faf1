"""Scores at each step ahead."""

from __future__ import annotations

import math
from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, MaxNLocator

from weir.report.drawing.curves import dashes, shorten
from weir.report.drawing.figure import Figure, Margins, View, draw
from weir.report.drawing.theme import light
from weir.report.entries import Entry, definitions
from weir.report.tables import averaged, has
from weir.tasks.forecast.figures.calibration import has_spread


def along_horizon(rows: Sequence[Entry]) -> Figure | None:
    """Scores at each step ahead, the best two of each kind."""
    shown = [row for row in rows if has(row, "horizon")]
    known = definitions(rows)
    views = []
    for metric in ("crps", "mse", "coverage_50", "coverage_90"):
        kept = [row for row in shown if _recorded(row, metric)]
        if metric.startswith("coverage"):
            kept = [row for row in kept if has_spread(row)]
        if kept and metric in known:
            target = known[metric].target
            views.append(
                View(
                    known[metric].heading, (_horizon(kept, metric, target, known[metric].heading),)
                )
            )
    if not views:
        return None
    return Figure(
        "Scores along the horizon",
        "Mean over windows, variables and seeds at each step ahead, for the best two of each kind.",
        "Horizon",
        tuple(views),
    )


def _recorded(row: Entry, metric: str) -> bool:
    return all(
        metric in run.tables["horizon"] and run.tables["horizon"][metric].notna().any()
        for run in row.runs
    )


def _horizon(rows: Sequence[Entry], metric: str, target: float | None, label: str) -> str:
    styles = dashes(rows)

    def paint(axes: Axes) -> None:
        for row in rows:
            table = averaged(row, "horizon", ["step"], [metric], sort=True)
            axes.plot(
                table["step"],
                table[metric],
                color=light(row.kind),
                ls=styles[row.node],
                lw=1.3 if row.kind == "baseline" else 1.9,
                label=shorten(row.label),
            )
        if target is not None:
            axes.axhline(target, color=light("ink"), lw=1, ls=(0, (4, 3)), label="target")
            axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.0%}"))
        axes.margins(x=0.01)
        axes.set_xlabel("steps ahead")
        axes.set_title(label)
        axes.xaxis.set_major_locator(MaxNLocator(9, integer=True))
        handles, labels = axes.get_legend_handles_labels()
        axes.figure.legend(handles, labels, loc="lower left", ncols=3, borderaxespad=0)

    names = ", ".join(row.label for row in rows)
    lines = math.ceil((len(rows) + 1) / 3)
    return draw(
        paint,
        f"{label} at each step ahead: {names}",
        860,
        290 + 18 * lines,
        Margins(bottom=52 + 18 * lines),
    )
