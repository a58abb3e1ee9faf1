"""Dose-response curves: how far the answering genes move at each dose, true and generated."""

from __future__ import annotations

import math
from collections.abc import Sequence

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, MaxNLocator, NullLocator

from weir.report.drawing.curves import MARKERS, dashes, shorten
from weir.report.drawing.figure import Figure, Margins, View, draw
from weir.report.drawing.theme import light
from weir.report.entries import Entry
from weir.report.tables import every

PANELS = 12
"""Curves that the figure shows at most."""


def doses(rows: Sequence[Entry]) -> Figure | None:
    """A panel for each perturbation and context; the best model of each kind is a line."""
    tables = {row.node: curve(held_out(row)) for row in rows}
    shown = [row for row in rows if not tables[row.node].empty]
    keys = list(dict.fromkeys(pair for row in shown for pair in _pairs(tables[row.node])))
    if not keys:
        return None
    if len(keys) > PANELS:
        keys = [keys[n * len(keys) // PANELS] for n in range(PANELS)]
    panels = tuple(_panel(shown, tables, *key) for key in keys)
    return Figure(
        "Dose and response",
        "Mean shift of the answering genes, signed along the true shift, against the dose. Dark: "
        "the truth; in colour the best model of each kind, averaged over seeds. Where each fold "
        "holds out another dose, a dose's prediction is that of a model that never saw it.",
        "Doses",
        (View("all", panels),),
    )


def _pairs(table: pd.DataFrame) -> list[tuple[str, str]]:
    return list(zip(table["perturbation"], table["context"], strict=True))


def held_out(row: Entry) -> pd.DataFrame:
    """The doses of all runs; of several folds each adds its predictions for what it held out."""
    table = every(row, "doses")
    tested = every(row, "responses")
    keys = ["fold", "context", "dose"]
    if table.empty or table["fold"].nunique() < 2 or not set(keys).issubset(tested.columns):
        return table
    groups = set(tested[keys].astype(object).itertuples(index=False, name=None))
    inside = pd.Series(
        [key in groups for key in table[keys].astype(object).itertuples(index=False, name=None)],
        index=table.index,
    )
    return table[inside | (table["kind"] == "true")] if inside.any() else table


def curve(table: pd.DataFrame) -> pd.DataFrame:
    """Means over runs, sorted by dose; a dose of zero has no place on a logarithmic axis."""
    if table.empty:
        return table
    keys = ["perturbation", "context", "kind", "dose"]
    table = table.assign(context=table["context"].astype(object).fillna(""))
    table = table[(table["dose"] > 0) & table["response"].notna()]
    return table.groupby(keys, as_index=False, sort=True)["response"].mean()


def _panel(
    rows: Sequence[Entry], tables: dict[str, pd.DataFrame], perturbation: str, context: str
) -> str:
    styles = dashes(rows)
    name = f"{perturbation}, {context}" if context else str(perturbation)
    lines = math.ceil((len(rows) + 1) / 2)

    def paint(axes: Axes) -> None:
        truth: pd.DataFrame | None = None
        at: set[float] = set()
        for row in rows:
            table = tables[row.node]
            table = table[(table["perturbation"] == perturbation) & (table["context"] == context)]
            at |= set(table["dose"])
            part = table[table["kind"] == "predicted"]
            if truth is None and (table["kind"] == "true").any():
                truth = table[table["kind"] == "true"]
            axes.plot(
                part["dose"],
                part["response"],
                color=light(row.kind),
                ls=styles[row.node],
                marker=MARKERS[row.kind],
                ms=4.5,
                mew=0,
                label=shorten(row.label, 22),
            )
        if truth is not None:
            style = {"color": light("ink"), "ms": 5, "mew": 0, "label": "truth"}
            axes.plot(truth["dose"], truth["response"], "o-", **style)
        axes.axhline(0, color=light("faint"), lw=0.8)
        axes.set_xscale("log")
        axes.xaxis.set_minor_locator(NullLocator())
        ticks = sorted(at)
        axes.set_xticks(ticks[:: math.ceil(len(ticks) / 5) or 1])
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.3g}"))
        axes.yaxis.set_major_locator(MaxNLocator(5))
        axes.margins(x=0.08, y=0.12)
        axes.set_xlabel("dose")
        axes.set_ylabel("shift")
        axes.set_title(shorten(name))
        handles, labels = axes.get_legend_handles_labels()
        axes.figure.legend(handles, labels, loc="lower left", ncols=2, borderaxespad=0)

    words = ", ".join(row.label for row in rows)
    return draw(
        paint,
        f"Response to {name} by dose: truth and {words}",
        320,
        230 + 18 * lines,
        Margins(left=50, bottom=48 + 18 * lines),
    )
