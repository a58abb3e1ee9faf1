"""Filled-in records: what was shown, what was measured later, and what a model thought of it."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
from matplotlib.axes import Axes

from weir.report.drawing.curves import shorten
from weir.report.drawing.figure import Figure, Margins, View, draw
from weir.report.drawing.numbers import compact
from weir.report.drawing.theme import light
from weir.report.entries import Entry, definitions
from weir.report.tables import averaged, drawn, shown

PANELS = 6
"""Pairs of record and code of one model."""

CODES = 24
"""Codes whose errors are compared: those with most values."""

METRIC = "fill_crps"


def filling(rows: Sequence[Entry]) -> Figure | None:
    """Forecasts of the last quarter of some records, a tab for each of the best models."""
    views = []
    for row in shown(rows, METRIC, definitions(rows)):
        table = drawn(row, "filled")
        if not table.empty:
            pairs = _pairs(table)
            views.append(View(row.label, tuple(_panel(row, table, *pair) for pair in pairs)))
    if not views:
        return None
    return Figure(
        "Forecasts of records",
        "Values of a code in some records, mean of each bin of time. The last quarter was hidden: "
        "open circles were measured there, the bands hold one half and nine tenths of the model's "
        "samples, the line is their median. Records of the run with the smallest seed with the "
        "most values, not chosen by score, and the same for all models of one grid.",
        "Filling in and forecasting",
        tuple(views),
    )


def filled_codes(rows: Sequence[Entry]) -> Figure | None:
    """Error of the best models by code, in each use."""
    best = shown(rows, METRIC, definitions(rows))
    tables = {
        row.node: averaged(row, "filled_codes", ["use", "code"], ["values", "crps"]) for row in best
    }
    best = [row for row in best if not tables[row.node].empty]
    if not best:
        return None
    views = []
    for use in ("forecast", "imputation", "single values"):
        parts = [tables[row.node][tables[row.node]["use"] == use] for row in best]
        parts = [part.set_index("code") for part in parts]
        order = parts[0].nlargest(CODES, "values", keep="first")["crps"].sort_values().index
        views.append(View(use, (_errors(best, parts, list(order), use),)))
    return Figure(
        "Filling in by code",
        "CRPS of values that were hidden, in standard deviations of the code: 0 for a model that "
        f"knows them, about .56 for one that knows their law only. At most {CODES} codes, those "
        "with most values.",
        "Filling in and forecasting",
        tuple(views),
    )


def _pairs(table: pd.DataFrame) -> list[tuple[int, str]]:
    """Records and codes with something measured in the hidden part, code by code."""
    true = table[table["kind"] == "true"].drop_duplicates(["record", "code"])
    # A code in two records, then the next.
    ranked = true.assign(turn=true.groupby("code").cumcount())
    some = ranked[ranked["turn"] < 2].head(PANELS)
    return list(zip(some["record"].tolist(), some["code"].tolist(), strict=True))


def _panel(row: Entry, table: pd.DataFrame, record: int, code: str) -> str:
    mine = table[(table["record"] == record) & (table["code"] == code)]
    lines = {kind: part.sort_values("hour") for kind, part in mine.groupby("kind")}

    def paint(axes: Axes) -> None:
        colour = light(row.kind)
        hours = lines["middle"]["hour"]
        for low, high, alpha in (("low", "high", 0.15), ("lower", "upper", 0.28)):
            axes.fill_between(
                hours, lines[low]["value"], lines[high]["value"], color=colour, alpha=alpha, lw=0
            )
        axes.plot(hours, lines["middle"]["value"], color=colour, lw=1.6)
        if "shown" in lines:
            past = lines["shown"]
            axes.plot(past["hour"], past["value"], "o-", ms=3.5, lw=1, mew=0, color=light("soft"))
        axes.plot(
            lines["true"]["hour"],
            lines["true"]["value"],
            "o",
            ms=5,
            mew=1.2,
            color=light("ink"),
            mfc=light("card"),
        )
        axes.set_xlabel("hours")
        axes.set_title(f"{shorten(code, 24)}, record {record}")

    return draw(
        paint,
        f"{code} of record {record}: shown values, hidden ones, and the forecast of {row.label}",
        290,
        210,
        Margins(left=52),
    )


def _errors(
    rows: Sequence[Entry], parts: Sequence[pd.DataFrame], codes: list[str], use: str
) -> str:
    labels = [shorten(code, 30) for code in codes]

    def paint(axes: Axes) -> None:
        for row, part in zip(rows, parts, strict=True):
            axes.plot(
                part["crps"].reindex(codes),
                range(len(codes)),
                "o",
                ms=6,
                mew=0,
                alpha=0.85,
                color=light(row.kind),
                label=row.label,
            )
        axes.set_xlim(left=0)
        axes.grid(axis="y", visible=False)
        axes.set_yticks(range(len(codes)), labels)
        axes.set_ylim(len(codes) - 0.4, -0.6)
        axes.set_xlabel("CRPS / standard deviation")
        axes.figure.legend(
            *axes.get_legend_handles_labels(),
            loc="lower left",
            ncols=4,
            handletextpad=0.1,
            columnspacing=1.2,
            borderaxespad=0,
        )

    first = parts[0]["crps"].reindex(codes)
    return draw(
        paint,
        f"CRPS of {use} by code; of {rows[0].label} from {compact(first.min())} to "
        f"{compact(first.max())}",
        860,
        92 + 21 * len(codes),
        Margins(left=14 + 6.4 * max(map(len, labels)), right=20, bottom=78, top=8),
    )
