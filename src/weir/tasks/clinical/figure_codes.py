"""Reconstruction by code: which measurements a latent keeps, in clinical units."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
from matplotlib.axes import Axes

from weir.report.curves import shorten
from weir.report.entries import Entry
from weir.report.figure import Figure, Margins, View, draw
from weir.report.numbers import compact
from weir.report.theme import light
from weir.tasks.clinical.figure_tables import averaged

CODES = 45
"""Codes that a panel shows: those with most values."""
COLUMNS = ["seen", "expected", "values", "rmse", "rmse_without", "sd"]


def codes(rows: Sequence[Entry]) -> Figure | None:
    """Errors of reconstructed values by code, for each autoencoder."""
    views = []
    for row in rows:
        table = averaged(row, "codes", ["code"], COLUMNS)
        if table.empty or not (table["values"] > 0).any():
            continue
        valued = table[table["values"] > 0].nlargest(CODES, "values", keep="first")
        relative = valued.assign(
            error=valued["rmse"] / valued["sd"], without=valued["rmse_without"] / valued["sd"]
        )
        views.append(View(row.label, (_panel(row, relative.sort_values("error")),)))
    if not views:
        return None
    return Figure(
        "Reconstruction by code",
        "Root mean squared error of values decoded from the sets' posterior means, as a share of "
        "the code's standard deviation; hollow: decoded from z = 0, which knows nothing of the "
        "set. On the right the error in clinical units and the number of values. "
        f"At most {CODES} codes, those with most values.",
        "Reconstruction",
        tuple(views),
    )


def _panel(row: Entry, table: pd.DataFrame) -> str:
    labels = [shorten(name, 30) for name in table["code"]]

    def paint(axes: Axes) -> None:
        places = range(len(table))
        axes.hlines(places, table["error"], table["without"], color=light("rule"), lw=2)
        axes.plot(
            table["without"], places, "o", ms=6, mew=1.2, color=light("faint"), mfc=light("card")
        )
        axes.plot(table["error"], places, "o", ms=6, mew=0, color=light(row.kind))
        axes.set_xlim(left=0)
        edge = axes.get_xlim()[1]
        for place, rmse, values in zip(places, table["rmse"], table["values"], strict=True):
            axes.text(
                edge,
                place,
                f"  {compact(rmse)} ({values:.0f})",
                va="center",
                fontsize=10,
                color=light("soft"),
            )
        axes.set_xlim(right=edge)
        axes.grid(axis="y", visible=False)
        axes.set_yticks(places, labels)
        axes.set_ylim(len(table) - 0.4, -0.6)
        axes.set_xlabel("error / standard deviation")

    worst, best = table.iloc[-1], table.iloc[0]
    return draw(
        paint,
        f"Reconstruction error by code of {row.label}: least of {best['code']} "
        f"({compact(best['rmse'])}), greatest of {worst['code']} ({compact(worst['rmse'])}), as a "
        "share of the standard deviation",
        860,
        60 + 21 * len(table),
        Margins(left=14 + 6.4 * max(map(len, labels)), right=120, bottom=46, top=8),
    )
