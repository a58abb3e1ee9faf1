"""Figures that any task has: scores at a glance, quality against cost, losses."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, MaxNLocator

from weir.artifacts.evaluation import Definition, Evaluation
from weir.report.drawing.figure import Figure, Margins, View, draw
from weir.report.drawing.numbers import compact, number
from weir.report.drawing.points import thin
from weir.report.drawing.theme import light
from weir.report.entries import Entry, definitions, featured, ranked, summarise
from weir.report.measured import measured

MARKERS = {
    "student": "D",
    "teacher": "o",
    "joint": "s",
    "ensemble": "P",
    "head": "v",
    "stage1": "^",
    "baseline": "o",
    "ceiling": "*",
}
DASHES = ("-", (0, (5, 2)), (0, (1.5, 1.8)), (0, (6, 2, 1.5, 2)))
"""Line styles that tell entries of one kind apart."""


def dashes(rows: Sequence[Entry]) -> dict[str, object]:
    """A line style for each node, so that two lines of one colour differ."""
    seen: dict[str, int] = {}
    styles = {}
    for row in rows:
        seen[row.kind] = seen.get(row.kind, -1) + 1
        styles[row.node] = DASHES[seen[row.kind] % len(DASHES)]
    return styles


def shorten(label: str, length: int = 32) -> str:
    """A label that fits beside an axis."""
    return label if len(label) <= length else label[: length - 1].rstrip() + "…"


def glance(rows: Sequence[Entry], metrics: Sequence[str], family: str = "") -> Figure | None:
    """All rows in one metric a tab: a dot for the mean, small dots for the seeds.

    `family` is what the rows do, where others of the data set do something else.
    """
    known = definitions(rows)
    views = []
    for metric in metrics:
        shown = [row for row in ranked(rows, metric, known[metric]) if row.statistic(metric).known]
        if len(shown) > 1:
            views.append(View(known[metric].heading, (_dots(shown, metric, known[metric]),)))
    if not views:
        return None
    return Figure(
        titled("Scores at a glance", family),
        "Large marks are means, small ones single seeds. Colour and shape tell the kind; the line "
        "marks the best baseline, or the target of a metric that has one. What lies far off all "
        "others is an arrow with its number at the edge.",
        "Results",
        tuple(views),
    )


FAR = 4.0
"""Times as far from the best as three quarters of the rows are, from where on a row is far off."""


def edge(rows: Sequence[Entry], metric: str, definition: Definition) -> float | None:
    """Where an axis ends so that hopeless rows do not squeeze the others; None if there are none.

    `rows` are ranked, and all have the number.
    """
    means = [row.statistic(metric).mean for row in rows]
    if definition.target is not None or len(means) < 4:
        return None
    reach = FAR * (means[(len(means) - 1) * 3 // 4] - means[0])
    return means[0] + reach if reach and abs(means[-1] - means[0]) > abs(reach) else None


def _dots(rows: Sequence[Entry], metric: str, definition: Definition) -> str:
    labels = [shorten(row.label, 40) for row in rows]
    end = edge(rows, metric, definition)

    def beyond(value: float) -> bool:
        return end is not None and definition.badness(value) > definition.badness(end)

    def paint(axes: Axes) -> None:
        axes.grid(axis="x", visible=False)
        for n, row in enumerate(rows):
            colour = light(row.kind)
            if end is not None and beyond(row.statistic(metric).mean):
                right = definition.better == "lower"
                axes.plot([end], [n], ">" if right else "<", ms=7.5, color=colour, mew=0)
                axes.annotate(
                    compact(row.statistic(metric).mean),
                    (end, n),
                    (-8 if right else 8, 0),
                    textcoords="offset points",
                    ha="right" if right else "left",
                    va="center",
                    fontsize=10.5,
                    color=light("soft"),
                )
                continue
            seeds = row.by_seed(metric)
            seeds = [seed for seed in seeds if not beyond(seed)]
            axes.plot(seeds, [n] * len(seeds), "o", ms=3.4, color=colour, alpha=0.5, mew=0)
            axes.plot(
                [row.statistic(metric).mean],
                [n],
                MARKERS[row.kind],
                ms=11 if row.kind == "ceiling" else 7.5,
                color=colour,
                mew=0,
            )
        baseline = next((row for row in rows if row.kind == "baseline"), None)
        line = definition.target
        if line is None and baseline is not None:
            line = baseline.statistic(metric).mean
        if line is not None and not beyond(line):
            axes.axvline(line, color=light("faint"), lw=1, ls=(0, (4, 3)), zorder=0)
        axes.set_yticks(range(len(rows)), labels)
        axes.set_ylim(len(rows) - 0.4, -0.6)
        axes.xaxis.set_major_locator(MaxNLocator(7))
        if definition.target is None:
            axes.set_xlabel(f"{definition.heading}   ({definition.better} is better)")
        else:
            axes.set_xlabel(f"{definition.heading}   (target {definition.target:g})")
        axes.margins(x=0.06)

    words = "; ".join(f"{row.label} {compact(row.statistic(metric).mean)}" for row in rows)
    return draw(
        paint,
        f"{definition.label} of all models: {words}",
        860,
        58 + 25 * len(rows),
        Margins(left=14 + 6.0 * max(map(len, labels)), right=18, bottom=46, top=8),
    )


def titled(title: str, family: str) -> str:
    """A figure's title, with the family that it is about."""
    return f"{title}: {family.lower()}" if family else title


UNTIMED = '<p class="untimed">Seconds for the split: not measured, or not known here.</p>'
"""In place of a figure of times."""


def quality(rows: Sequence[Entry], metrics: Sequence[str], family: str = "") -> Figure | None:
    """Scores against network calls and against time, where models were tried at several costs."""
    known = definitions(rows)
    views = []
    for metric in metrics:
        definition = known[metric]
        if definition.target is not None:
            continue
        curves = featured(
            [row for row in rows if mean_curve(row, "nfe", metric)], metric, definition, per_kind=3
        )
        if not curves:
            continue
        panels = [_quality(rows, curves, metric, definition, "nfe", "network calls per sample")]
        timed = [row for row in curves if mean_curve(row, "seconds", metric)]
        drawn = timed and _quality(
            rows, timed, metric, definition, "seconds", "seconds for the split"
        )
        panels.append(measured(drawn or UNTIMED, UNTIMED))
        views.append(View(definition.heading, tuple(panels)))
    if not views:
        return None
    return Figure(
        titled("Quality against cost", family),
        "The best three models of each kind; a mark is one number of steps, averaged over seeds. "
        "Dashed: the best baseline; dotted: the best possible score where it is known. Times are "
        "of one machine: compare their ratios.",
        "Cost",
        tuple(views),
    )


def _quality(
    rows: Sequence[Entry],
    curves: Sequence[Entry],
    metric: str,
    definition: Definition,
    cost: str,
    axis: str,
) -> str:
    styles = dashes(curves)

    def paint(axes: Axes) -> None:
        costs: list[float] = []
        for row in curves:
            points = mean_curve(row, cost, metric)
            costs += [x for x, _ in points]
            axes.plot(
                [x for x, _ in points],
                [y for _, y in points],
                marker=MARKERS[row.kind],
                ms=6,
                mew=0,
                color=light(row.kind),
                ls=styles[row.node],
                label=shorten(row.label),
            )
        for kind, style in (("baseline", (0, (5, 3))), ("ceiling", (0, (1, 2)))):
            yardsticks = featured([row for row in rows if row.kind == kind], metric, definition)
            if yardsticks and yardsticks[0].statistic(metric).known:
                axes.axhline(
                    yardsticks[0].statistic(metric).mean,
                    color=light(kind),
                    lw=1.4,
                    ls=style,
                    label=shorten(yardsticks[0].label),
                )
        axes.set_xscale("log")
        _plain_log_ticks(axes, costs, whole=cost == "nfe")
        axes.set_xlabel(axis)
        axes.set_title(definition.heading)
        axes.margins(x=0.08, y=0.12)
        handles, labels = axes.get_legend_handles_labels()
        axes.figure.legend(handles, labels, loc="lower left", ncols=2, borderaxespad=0)

    words = ", ".join(row.label for row in curves)
    lines = math.ceil((len(curves) + 2) / 2)
    return draw(
        paint,
        f"{definition.label} against {axis}: {words}",
        430,
        270 + 18 * lines,
        Margins(left=48, bottom=52 + 18 * lines),
    )


def mean_curve(row: Entry, cost: str, metric: str) -> list[tuple[float, float]]:
    """(cost, score) at each number of steps that every run has, gathered as scores in tables."""
    curves = {
        run.name: {point.get("steps", point.get(cost)): point for point in run.quality_curve}
        for run in row.runs
    }
    steps = dict.fromkeys(step for curve in curves.values() for step in curve)

    def mean(step: float | None, key: str) -> float:
        def value(run: Evaluation) -> float:
            return curves[run.name].get(step, {}).get(key, math.nan)

        return summarise(row.pooled(key, value)).mean

    pairs = ((mean(step, cost), mean(step, metric)) for step in steps)
    return sorted(pair for pair in pairs if all(map(math.isfinite, pair)))


def _plain_log_ticks(axes: Axes, costs: Sequence[float], whole: bool) -> None:
    """Ticks at numbers that people say: powers of two for counts, 1, 2 and 5 for times."""
    low, high = min(costs), max(costs)
    if whole:
        ticks = [2.0**n for n in range(math.floor(math.log2(low)), math.ceil(math.log2(high)) + 1)]
    else:
        powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
        ticks = [m * 10.0**n for n in powers for m in (1, 2, 5) if low / 2 < m * 10.0**n < high * 2]
    axes.set_xticks(ticks[:: math.ceil(len(ticks) / 8)])
    axes.set_xticks([], minor=True)
    axes.xaxis.set_major_formatter(
        FuncFormatter(lambda value, _: number(value, 0) if value >= 1 else f"{value:g}")
    )


def losses(rows: Sequence[Entry]) -> Figure | None:
    """Training and validation loss of every model that was trained by steps."""
    panels = []
    for row in rows:
        if any("losses" in run.tables for run in row.runs):
            panels.append(_loss(row))
    if not panels:
        return None
    return Figure(
        "Losses",
        "Thin: training, smoothed over 2 % of the steps; thick: validation; a line for each run. "
        "The axis leaves out the first steps where they are far above the rest.",
        "Training",
        (View("all", tuple(panels)),),
    )


def _loss(row: Entry) -> str:
    def paint(axes: Axes) -> None:
        tops, lows = [], []
        # Many runs share the space that three lines would take.
        most = max(240 * 3 // max(len(row.runs), 3), 60)
        for run in row.runs:
            table = run.tables.get("losses")
            if table is None:
                continue
            for column, thick in (("train/loss", False), ("validation/loss", True)):
                if column not in table:
                    continue
                kept = table[["step", column]].dropna()
                kept = kept[np.isfinite(kept[column])]
                if kept.empty:
                    continue
                values = kept[column]
                if not thick:
                    values = values.rolling(max(len(kept) // 50, 1), min_periods=1).mean()
                places = thin(len(kept), most)
                steps, values = kept["step"].to_numpy()[places], values.to_numpy()[places]
                axes.plot(
                    steps,
                    values,
                    color=light(row.kind),
                    lw=2.0 if thick else 1.0,
                    alpha=0.9 if thick else 0.5,
                )
                late = values[len(values) // 20 :]
                tops.append(float(np.max(late)))
                lows.append(float(np.min(values)))
        if tops:
            room = 0.06 * (max(tops) - min(lows)) or 0.1
            axes.set_ylim(min(lows) - room, max(tops) + room)
        axes.set_title(shorten(row.label))
        axes.set_xlabel("step")
        axes.xaxis.set_major_locator(MaxNLocator(5))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: number(value, 0)))

    return draw(paint, f"Training and validation loss of {row.label}", 290, 200)
