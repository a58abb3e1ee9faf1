"""Reliability diagrams: whether a risk of 20 % means one in five."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
from matplotlib.axes import Axes

from weir.report.drawing.curves import MARKERS, shorten
from weir.report.drawing.figure import Figure, Margins, View, draw
from weir.report.drawing.numbers import number
from weir.report.drawing.theme import light
from weir.report.entries import Entry, definitions
from weir.report.tables import shown

COLUMNS = ["predicted", "observed", "low", "high"]
ERROR = "calibration_error"


def reliability(rows: Sequence[Entry]) -> Figure | None:
    """Observed shares against predicted risks, a panel for each of the best models."""
    known = definitions(rows)
    panels = []
    for row in shown(rows, "auroc", known):
        table = _bins(row)
        if not table.empty:
            panels.append(_panel(row, table))
    if not panels:
        return None
    return Figure(
        "Observed and predicted risk",
        "Records in bins of equally many by predicted risk; on the dashed line the outcome is as "
        "frequent as predicted. Averaged over seeds and splits, bin by bin; bars are Wilson's 95 % "
        "intervals of one split. The number is the calibration error, which noise alone keeps "
        "above 0.",
        "Calibration",
        (View("all", tuple(panels)),),
    )


def _bins(row: Entry) -> pd.DataFrame:
    """Means over the runs of each bin, the lowest risk first; of runs with equally many bins."""
    parts = [run.tables["reliability"] for run in row.runs if "reliability" in run.tables]
    if not parts:
        return pd.DataFrame()
    parts = [part for part in parts if len(part) == len(parts[0])]
    numbered = pd.concat([part.reset_index(drop=True)[COLUMNS] for part in parts])
    return numbered.groupby(level=0).mean()


def _panel(row: Entry, table: pd.DataFrame) -> str:
    error = number(row.statistic(ERROR).mean, 3)

    def paint(axes: Axes) -> None:
        top = min(float(table[["predicted", "observed", "high"]].max().max()) * 1.06, 1.0)
        axes.plot([0, top], [0, top], color=light("ink"), lw=1, ls=(0, (4, 3)))
        axes.vlines(table["predicted"], table["low"], table["high"], color=light(row.kind), lw=1.2)
        axes.plot(
            table["predicted"],
            table["observed"],
            MARKERS[row.kind],
            ms=9 if row.kind == "ceiling" else 5.5,
            mew=0,
            color=light(row.kind),
        )
        axes.set_xlim(0, top)
        axes.set_ylim(0, top)
        axes.set_xlabel("predicted risk")
        axes.set_ylabel("observed share")
        axes.set_title(f"{shorten(row.label, 24)}, {error}")

    return draw(
        paint,
        f"Observed share of the outcome against the risk predicted by {row.label}; calibration "
        f"error {error}",
        290,
        265,
        Margins(left=52),
    )
