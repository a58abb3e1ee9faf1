"""Fan charts: what was forecast over what happened."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from weir.report.drawing.curves import shorten
from weir.report.drawing.figure import Figure, View, draw
from weir.report.drawing.theme import light
from weir.report.entries import Entry

FANS = 6
"""Panels of one model's fan charts."""


def fans(rows: Sequence[Entry]) -> Figure | None:
    """The same windows forecast by the best model of each kind, a tab each."""
    shown = [row for row in rows if "fans" in row.first.tables and row.kind != "ceiling"]
    if not shown:
        return None
    views = []
    for row in shown:
        table = row.first.tables["fans"]
        picked = spread_out(zip(table["window"], table["variable"], strict=True))
        limits = {
            key: _limits([other.first.tables["fans"] for other in shown], key) for key in picked
        }
        views.append(View(row.label, tuple(_fan(row, table, key, limits[key]) for key in picked)))
    return Figure(
        "Forecasts and what happened",
        "Dark: the truth. Bands: the central 50 % and 90 % of the samples; thin lines: single "
        "sample paths. The windows are spread over the split, not chosen by score, and are the "
        "same for all models, which are the best of each kind. Standardised scale.",
        "Forecasts",
        tuple(views),
    )


def spread_out(keys: Iterable[tuple[int, str]]) -> list[tuple[int, str]]:
    """At most `FANS` of all (window, variable): from window to window another variable's turn."""
    variables: dict[int, list[str]] = {}
    for window, variable in dict.fromkeys(keys):
        variables.setdefault(window, []).append(variable)
    turns = [
        (window, names[(turn + place) % len(names)])
        for turn in range(max(map(len, variables.values())))
        for place, (window, names) in enumerate(sorted(variables.items()))
        if turn < len(names)
    ]
    first = turns[: len(variables)]
    if len(first) > FANS:
        first = [first[n * len(first) // FANS] for n in range(FANS)]
    return sorted(first + turns[len(variables) :][: FANS - len(first)])


def _part(table: pd.DataFrame, key: tuple[int, str]) -> tuple[pd.DataFrame, pd.DataFrame]:
    """History (as long as half the forecast at most, so the forecast has the room) and future."""
    part = table[(table["window"] == key[0]) & (table["variable"] == key[1])].sort_values("step")
    future = part[part["kind"] == "future"]
    history = part[part["kind"] == "history"].tail(max(len(future) // 2, 8))
    return history, future


def _limits(tables: Sequence[pd.DataFrame], key: tuple[int, str]) -> tuple[float, float]:
    """A common height for one window in all models' panels."""
    values = []
    for table in tables:
        history, future = _part(table, key)
        values += [history["truth"], future["truth"], future["q05"], future["q95"]]
    every = pd.concat(values).dropna()
    room = 0.06 * (every.max() - every.min()) or 0.1
    return float(every.min() - room), float(every.max() + room)


def _fan(row: Entry, table: pd.DataFrame, key: tuple[int, str], limits: tuple[float, float]) -> str:
    history, future = _part(table, key)
    colour = light(row.kind)

    def paint(axes: Axes) -> None:
        steps = future["step"]
        axes.fill_between(steps, future["q05"], future["q95"], color=colour, alpha=0.2, lw=0)
        axes.fill_between(steps, future["q25"], future["q75"], color=colour, alpha=0.3, lw=0)
        for name in sorted(c for c in table.columns if c[0] == "p" and c[1:].isdigit())[:3]:
            axes.plot(steps, future[name], color=colour, lw=0.7, alpha=0.6)
        axes.plot(steps, future["q50"], color=colour, lw=1.8)
        truth = pd.concat([history, future])
        axes.plot(truth["step"], truth["truth"], color=light("ink"), lw=1.3)
        axes.axvline(0.5, color=light("faint"), lw=1, ls=(0, (3, 3)))
        axes.set_title(f"{shorten(str(key[1]), 22)}, window {key[0]}")
        axes.set_ylim(*limits)
        axes.margins(x=0)
        axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
        axes.yaxis.set_major_locator(MaxNLocator(4))
        axes.set_xlabel("steps ahead")

    return draw(
        paint,
        f"Forecast of {key[1]} by {row.label}, window {key[0]}: bands and the truth",
        290,
        195,
    )
