"""Figures of an autoencoder: what its latents are like, and what they keep of each code.

Of the latents: how many are used, whether they repeat each other, and a map. Of each code: the
error of its reconstruction, in clinical units.
"""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
from matplotlib.axes import Axes

from weir.report.drawing.curves import shorten
from weir.report.drawing.figure import Figure, Margins, View, draw
from weir.report.drawing.numbers import compact, number
from weir.report.drawing.points import dots, mingled
from weir.report.drawing.theme import light
from weir.report.entries import Entry
from weir.report.tables import averaged, drawn

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


LEVELS = (0.1, 0.3, 0.5, 0.7, 0.9)
"""Strengths of a correlation from which on its dot is larger; weaker ones are not drawn."""
OUTCOMES = {0: ("without the outcome", "teacher"), 1: ("with the outcome", "evaluate")}


def latent(rows: Sequence[Entry]) -> Figure | None:
    """Map of records, use of each unit, and correlations of units, for each autoencoder."""
    views = []
    for row in rows:
        panels = []
        if not (table := drawn(row, "latent")).empty:
            panels.append(_map(row, table))
        if not (table := drawn(row, "units")).empty:
            panels.append(_units(row, table))
        if not (table := drawn(row, "latent_correlation")).empty:
            panels.append(_correlation(row, table))
        if panels:
            views.append(View(row.label, tuple(panels)))
    if not views:
        return None
    return Figure(
        "The latents",
        "Left: records on a plane of their representation; the axes have no unit. Middle: KL of "
        "each unit, the greatest first; grey units are not active. Right: correlation of the "
        "units' posterior means over sets, in the same order; larger dots are stronger, those "
        f"below {LEVELS[0]:g} are not drawn, and off the diagonal there should be few. First run "
        "of each model.",
        "Latent space",
        tuple(views),
    )


def _map(row: Entry, table: pd.DataFrame) -> str:
    def paint(axes: Axes) -> None:
        clouds = {}
        for value, (label, colour) in OUTCOMES.items():
            part = table[table["outcome"] == value]
            clouds[f"{label} ({len(part)})"] = (part["x"], part["y"], colour)
        mingled(axes, clouds, 3.4, 0.7)
        axes.margins(0.04)
        axes.set_xticks([])
        axes.set_yticks([])
        axes.spines["bottom"].set_visible(False)
        axes.set_title("Records")
        axes.figure.legend(
            *axes.get_legend_handles_labels(), loc="lower left", handletextpad=0.1, borderaxespad=0
        )

    return draw(
        paint,
        f"Map of records by the representation of {row.label}; {int(table['outcome'].sum())} of "
        f"{len(table)} have the outcome",
        330,
        300,
        Margins(left=8, right=8, bottom=48),
    )


def _units(row: Entry, table: pd.DataFrame) -> str:
    table = table.reset_index(drop=True)
    active = table["active"].astype(bool)

    def paint(axes: Axes) -> None:
        for used, colour in ((True, row.kind), (False, "faint")):
            part = table[active == used]
            axes.bar(part.index + 1, part["kl"], color=light(colour), width=0.8)
        axes.grid(axis="x", visible=False)
        axes.set_xlabel("unit")
        axes.set_ylabel("KL, nats")
        axes.set_title(f"{int(active.sum())} of {len(table)} units active")

    return draw(
        paint,
        f"KL of each latent unit of {row.label}: {int(active.sum())} of {len(table)} are active, "
        f"the greatest KL is {number(float(table['kl'].max()), 2)} nats",
        330,
        300,
        Margins(left=52, bottom=46),
    )


def _correlation(row: Entry, table: pd.DataFrame) -> str:
    order = {unit: place + 1 for place, unit in enumerate(dict.fromkeys(table["unit"]))}
    x, y = table["unit"].map(order), table["other"].map(order)
    count = len(order)
    size = 215 / max(count, 4)

    def paint(axes: Axes) -> None:
        for sign, colour in ((1, "evaluate"), (-1, "teacher")):
            strength = sign * table["correlation"]
            for level, above in zip(LEVELS, (*LEVELS[1:], 2.0), strict=True):
                part = (strength >= level) & (strength < above)
                dots(axes, x[part], y[part], colour, size * min(level + 0.15, 1.0), 0.9)
        axes.set_xlim(0.3, count + 0.7)
        axes.set_ylim(count + 0.7, 0.3)
        axes.set_aspect("equal")
        axes.set_xlabel("unit (orange: positive, blue: negative)")
        axes.set_title(shorten(f"Greatest correlation {number(most, 2)}"))

    apart = table[table["unit"] != table["other"]]["correlation"].abs()
    most = float(apart.max()) if len(apart) else 0.0
    return draw(
        paint,
        f"Correlations of the latent units of {row.label}: the strongest between two is "
        f"{number(most, 2)}",
        330,
        300,
        Margins(left=46, bottom=46),
    )
