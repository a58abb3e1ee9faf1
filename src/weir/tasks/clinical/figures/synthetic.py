"""Synthetic records beside real ones: how often codes occur, their values, and privacy."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from weir.report.drawing.curves import shorten
from weir.report.drawing.figure import Figure, Margins, View, draw
from weir.report.drawing.numbers import number
from weir.report.drawing.theme import light
from weir.report.entries import Entry, definitions
from weir.report.tables import drawn, shown

CODES = 6
"""Codes whose values are compared: those in most records."""

BINS = 30
METRIC = "tstr_auroc"


def synthetic(rows: Sequence[Entry]) -> Figure | None:
    """Frequencies, values and distances of the best generators, a tab each."""
    views = []
    for row in shown(rows, METRIC, definitions(rows)):
        codes, values, distances = (
            drawn(row, f"synthetic_{name}") for name in ("codes", "values", "distances")
        )
        panels: list[str] = []
        if not codes.empty:
            panels += [
                _scatter(row, codes, "share", "share of records with the code"),
                _scatter(row, codes, "events", "events of the code in a record"),
            ]
        if not distances.empty:
            panels.append(_privacy(row, distances))
        if not codes.empty and not values.empty:
            ranked = codes.sort_values("real_share", ascending=False, kind="stable")["code"]
            chosen = [code for code in ranked if (values["code"] == code).any()][:CODES]
            panels += [_quantiles(row, values[values["code"] == code]) for code in chosen]
        if panels:
            views.append(View(row.label, tuple(panels)))
    if not views:
        return None
    return Figure(
        "Synthetic records",
        "Each dot is a code, on the dashed line it is as frequent in synthetic records as in "
        "those of training. Distances are to the nearest training record: were the synthetic ones "
        "(colour) nearer than held-out ones (grey), they would give patients away. Last, "
        "quantiles (5 % to 95 %) of the values of the codes in most records, clinical units.",
        "Synthetic patients",
        tuple(views),
    )


def _scatter(row: Entry, table: pd.DataFrame, column: str, what: str) -> str:
    real, made = table[f"real_{column}"], table[column]

    def paint(axes: Axes) -> None:
        floor = 1e-3 if column == "share" else 1e-2
        top = 1.15 * max(float(real.max()), float(made.max()), 2 * floor)
        axes.plot([floor, top], [floor, top], color=light("ink"), lw=1, ls=(0, (4, 3)))
        axes.plot(
            real.clip(lower=floor),
            made.clip(lower=floor),
            "o",
            ms=5,
            mew=0,
            alpha=0.8,
            color=light(row.kind),
        )
        if column == "events":
            axes.set_xscale("log")
            axes.set_yscale("log")
        axes.set_xlabel("training records")
        axes.set_ylabel("synthetic records")
        axes.set_title(what[0].upper() + what[1:])

    worst = table.loc[(real - made).abs().idxmax()]
    return draw(
        paint,
        f"{what} in synthetic records of {row.label} against training records; furthest apart for "
        f"{worst['code']}",
        290,
        265,
        Margins(left=56),
    )


def _privacy(row: Entry, table: pd.DataFrame) -> str:
    ratio = number(row.statistic("privacy").mean, 2)
    edges = np.linspace(0, float(table["distance"].quantile(0.99)), BINS + 1)

    def paint(axes: Axes) -> None:
        for kind, colour, alpha in (("held out", "faint", 0.45), ("synthetic", row.kind, 0.55)):
            part = table[table["kind"] == kind]["distance"].clip(upper=edges[-1])
            axes.hist(
                part,
                bins=edges,
                density=True,
                color=light(colour),
                alpha=alpha,
                label=kind,
            )
        axes.set_xlabel("distance to the nearest training record")
        axes.set_yticks([])
        axes.set_title(f"Privacy: ratio of medians {ratio}")
        axes.figure.legend(
            *axes.get_legend_handles_labels(), loc="lower left", ncols=2, borderaxespad=0
        )

    return draw(
        paint,
        "Distances to the nearest training record, of synthetic records of "
        f"{row.label} and of held-out ones; ratio of medians {ratio}",
        290,
        265,
        Margins(left=14, bottom=66),
    )


def _quantiles(row: Entry, table: pd.DataFrame) -> str:
    code = str(table["code"].iloc[0])
    both = table[["real", "synthetic"]].to_numpy()

    def paint(axes: Axes) -> None:
        low, high = float(both.min()), float(both.max())
        room = 0.05 * max(high - low, 1e-6)
        axes.plot([low, high], [low, high], color=light("ink"), lw=1, ls=(0, (4, 3)))
        axes.plot(table["real"], table["synthetic"], "o-", ms=4, mew=0, lw=1, color=light(row.kind))
        axes.set_xlim(low - room, high + room)
        axes.set_ylim(low - room, high + room)
        axes.set_xlabel("training records")
        axes.set_ylabel("synthetic records")
        axes.set_title(shorten(code, 28))

    return draw(
        paint,
        f"Quantiles of {code} in synthetic records of {row.label} against training records",
        290,
        265,
        Margins(left=56),
    )
