"""Calibration: ranks of the truth, and promised against observed coverage."""

from __future__ import annotations

import math
from collections.abc import Sequence

import pandas as pd
from matplotlib.axes import Axes

from weir.report.drawing.curves import shorten
from weir.report.drawing.figure import Figure, Margins, View, draw
from weir.report.drawing.theme import light
from weir.report.entries import Entry
from weir.report.tables import averaged, has

PIT_TOP = 3.2
"""Highest bar of a PIT histogram that is shown whole."""


def pit(rows: Sequence[Entry]) -> Figure | None:
    """Histograms of where the truth falls within the samples."""
    shown = [row for row in rows if has(row, "pit") and has_spread(row)]
    if not shown:
        return None
    tables = {row.node: averaged(row, "pit", ["bin"], ["share"], sort=True) for row in shown}
    top = max(float((table["share"] * len(table)).max()) for table in tables.values()) * 1.06
    panels = tuple(_pit(row, tables[row.node], min(max(top, 1.3), PIT_TOP)) for row in shown)
    return Figure(
        "Where the truth falls (PIT)",
        "Share of truths in each slice of the predicted distribution, relative to a perfect "
        "forecast (dashed). A hump in the middle means that the forecast is too wide, tall ends "
        "that it is too narrow, a slope that it is shifted."
        + (f" Bars above {PIT_TOP:g} are cut off." if top > PIT_TOP else ""),
        "Calibration",
        (View("all", panels),),
    )


def _pit(row: Entry, table: pd.DataFrame, top: float) -> str:
    def paint(axes: Axes) -> None:
        count = len(table)
        places = [(n + 0.5) / count for n in range(count)]
        axes.bar(places, table["share"] * count, 0.86 / count, color=light(row.kind), alpha=0.8)
        axes.axhline(1, color=light("ink"), lw=1, ls=(0, (4, 3)))
        axes.set_title(shorten(row.label))
        axes.set_xlim(0, 1)
        axes.set_ylim(0, top)
        axes.set_xticks([0, 0.5, 1], ["0", ".5", "1"])
        axes.set_yticks([0, 0.5, 1] if top < 1.6 else [0, 1, 2, 3] if top > 2 else [0, 1])
        axes.grid(axis="x", visible=False)
        axes.set_xlabel("rank of the truth")

    return draw(paint, f"Histogram of the truth's rank under {row.label}", 290, 180)


def reliability(rows: Sequence[Entry]) -> Figure | None:
    """Observed against promised coverage of central intervals, near and far."""
    shown = [row for row in rows if has(row, "reliability") and has_spread(row)]
    if not shown:
        return None
    return Figure(
        "Promised and observed coverage",
        "Share of truths inside the central interval of each nominal probability; on the dashed "
        "line the promise is kept, below it the forecast is too sure of itself. Paler lines, "
        "where there are any, are later parts of the horizon.",
        "Calibration",
        (View("all", tuple(_reliability(row) for row in shown)),),
    )


def _reliability(row: Entry) -> str:
    bucketed = all("horizon" in run.tables["reliability"] for run in row.runs)
    keys = ["horizon", "nominal"] if bucketed else ["nominal"]
    table = averaged(row, "reliability", keys, ["observed"], sort=True)
    parts = list(table.groupby("horizon", sort=False)) if bucketed else [("", table)]
    parts.sort(key=lambda part: _leading_number(str(part[0])))

    def paint(axes: Axes) -> None:
        axes.plot([0, 1], [0, 1], color=light("faint"), lw=1, ls=(0, (4, 3)))
        for n, (bucket, part) in enumerate(parts):
            part = part.sort_values("nominal")
            alpha = 1.0 if len(parts) == 1 else 1.0 - 0.7 * n / (len(parts) - 1)
            axes.plot(
                part["nominal"],
                part["observed"],
                color=light(row.kind),
                alpha=alpha,
                marker="o",
                ms=3,
                mew=0,
                lw=1.6,
                label=f"steps {bucket}" if bucket else None,
            )
        if bucketed:
            axes.legend(loc="lower right", handlelength=1.4, borderaxespad=0.2)
        axes.set_title(shorten(row.label))
        axes.set_xlim(0, 1)
        axes.set_ylim(0, 1)
        axes.set_xticks([0, 0.25, 0.5, 0.75, 1], ["0", ".25", ".5", ".75", "1"])
        axes.set_yticks([0, 0.25, 0.5, 0.75, 1], ["0", ".25", ".5", ".75", "1"])
        axes.set_xlabel("promised")
        axes.set_ylabel("observed")

    return draw(
        paint,
        f"Observed against promised coverage of {row.label}",
        290,
        280,
        Margins(left=50),
    )


def _leading_number(label: str) -> tuple[float, str]:
    digits = label.split("-")[0].split("–")[0].strip()
    return (float(digits) if digits.isdigit() else math.inf, label)


def has_spread(row: Entry) -> bool:
    """Whether this is more than a point forecast, whose calibration needs no picture."""
    coverage = row.statistic("coverage_90")
    return not coverage.known or coverage.mean > 0.02
