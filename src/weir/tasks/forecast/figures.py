"""Figures of a forecast: fans over the truth, calibration, and scores along the horizon.

They read the tables that this task's evaluation writes:

| table | columns |
|---|---|
| `fans` | window, variable, step, kind, truth, q05, q25, q50, q75, q95, p0 ... (sample paths) |
| `pit` | bin, share |
| `reliability` | nominal, observed, and optionally horizon (a label such as "1-24") |
| `horizon` | step, crps, mse, coverage_50, coverage_90 |

`kind` is "history" (only `truth`, steps up to 0) or "future" (steps from 1). Fans are those of the
run with the smallest seed; the other tables are averaged over seeds.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, MaxNLocator

from weir.report.curves import dashes, shorten
from weir.report.entries import Entry, definitions, entries, featured
from weir.report.evaluation import Evaluation
from weir.report.figure import Figure, Margins, View, draw
from weir.report.theme import light

HEADLINE = ("crps", "energy_score", "mse", "mae", "coverage_50", "coverage_90")
"""Metrics of the main table; models are ranked by the first."""

FANS = 6
"""Panels of one model's fan charts."""


def figures(evaluations: Sequence[Evaluation]) -> list[Figure]:
    """Figures about one data set; what was not recorded is left out."""
    rows = entries(evaluations)
    known = definitions(rows)
    if "crps" not in known:
        return []
    best = featured(rows, "crps", known["crps"])
    wide = featured(rows, "crps", known["crps"], per_kind=2)
    drawn = [fans(best), pit(best), reliability(best), along_horizon(wide)]
    return [figure for figure in drawn if figure is not None]


def fans(rows: Sequence[Entry]) -> Figure | None:
    """The same windows forecast by the best model of each kind, a tab each."""
    shown = [row for row in rows if "fans" in row.first.tables and row.kind != "ceiling"]
    if not shown:
        return None
    views = []
    for row in shown:
        table = row.first.tables["fans"]
        picked = _spread_out(sorted(set(zip(table["window"], table["variable"], strict=True))))
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


def _spread_out(keys: Sequence[tuple[int, str]]) -> list[tuple[int, str]]:
    """At most `FANS` of all (window, variable), evenly spaced."""
    if len(keys) <= FANS:
        return list(keys)
    return [keys[n * len(keys) // FANS] for n in range(FANS)]


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


def pit(rows: Sequence[Entry]) -> Figure | None:
    """Histograms of where the truth falls within the samples."""
    shown = [row for row in rows if _has(row, "pit")]
    if not shown:
        return None
    tables = {row.node: _mean(row, "pit", ["bin"], ["share"]) for row in shown}
    top = max(float((table["share"] * len(table)).max()) for table in tables.values()) * 1.06
    panels = tuple(_pit(row, tables[row.node], max(top, 1.3)) for row in shown)
    return Figure(
        "Where the truth falls (PIT)",
        "Share of truths in each slice of the predicted distribution, relative to a perfect "
        "forecast (dashed). A hump in the middle means that the forecast is too wide, tall ends "
        "that it is too narrow, a slope that it is shifted.",
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
        axes.set_yticks([0, 0.5, 1, *([1.5, 2] if top > 1.6 else [])])
        axes.grid(axis="x", visible=False)
        axes.set_xlabel("rank of the truth")

    return draw(paint, f"Histogram of the truth's rank under {row.label}", 290, 180)


def reliability(rows: Sequence[Entry]) -> Figure | None:
    """Observed against promised coverage of central intervals, near and far."""
    shown = [row for row in rows if _has(row, "reliability")]
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
    table = _mean(row, "reliability", keys, ["observed"])
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


def along_horizon(rows: Sequence[Entry]) -> Figure | None:
    """Scores at each step ahead, the best two of each kind."""
    shown = [row for row in rows if _has(row, "horizon")]
    known = definitions(rows)
    views = []
    for metric in ("crps", "mse", "coverage_50", "coverage_90"):
        kept = [row for row in shown if _recorded(row, metric)]
        if kept and metric in known:
            target = known[metric].target
            views.append(
                View(known[metric].label, (_horizon(kept, metric, target, known[metric].label),))
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
            table = _mean(row, "horizon", ["step"], [metric])
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


def _has(row: Entry, name: str) -> bool:
    return all(name in run.tables and not run.tables[name].empty for run in row.runs)


def _mean(row: Entry, name: str, keys: list[str], values: list[str]) -> pd.DataFrame:
    """A table averaged over the seeds, sorted by its keys."""
    stacked = pd.concat([run.tables[name][keys + values] for run in row.runs])
    return stacked.groupby(keys, as_index=False, sort=True)[values].mean()
