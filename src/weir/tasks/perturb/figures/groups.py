"""Scores of each held-out group: a mean can hide the group on which a model fails."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator

from weir.artifacts.evaluation import Definition
from weir.report.drawing.curves import MARKERS, shorten
from weir.report.drawing.figure import Figure, Margins, View, draw
from weir.report.drawing.numbers import compact
from weir.report.drawing.theme import light
from weir.report.entries import Entry, definitions, featured
from weir.report.tables import every

METRICS = ("pearson_delta", "energy_distance", "mmd_ratio")
"""Scores that are drawn, a tab each."""
BASELINES = 2
"""Best baselines that stand beside the best model of each kind."""
LINES = 16
"""With more groups than this, the models are the lines and the groups are dots on them."""

Scores = Mapping[str, float]


def held_out(rows: Sequence[Entry]) -> Figure | None:
    """Each held-out group's score under the best models, the best baselines and the ceiling."""
    known = definitions(rows)
    groups = _folds if _several_folds(rows) else _responses
    views = []
    many = False
    for metric in METRICS:
        if metric not in known:
            continue
        definition = known[metric]
        shown = [
            row
            for kind_rows in (
                featured([row for row in rows if row.kind != "baseline"], metric, definition),
                featured(
                    [row for row in rows if row.kind == "baseline"], metric, definition, BASELINES
                ),
            )
            for row in kind_rows
            if row.statistic(metric).known
        ]
        found = {row.node: groups(row, metric) for row in shown}
        names = list(dict.fromkeys(name for scores in found.values() for name in scores))
        if len(names) < 2:
            continue
        paint = _strips if len(names) > LINES else _groups
        many = many or len(names) > LINES
        views.append(View(definition.heading, (paint(shown, found, names, metric, definition),)))
    if not views:
        return None
    what = "held-out group" if groups is _folds else "response"
    return Figure(
        f"Scores of each {what}",
        f"The best model of each kind, the best {BASELINES} baselines and the ceiling, averaged "
        "over seeds. "
        + (
            f"A small dot is a {what}, the large mark the score of the results table."
            if many
            else "The last line is the score of the results table."
        ),
        "Results",
        tuple(views),
    )


def _several_folds(rows: Sequence[Entry]) -> bool:
    return len({fold for row in rows for fold in row.folds}) > 1


def _folds(row: Entry, metric: str) -> Scores:
    """The score of each fold, averaged over seeds; folds that lack it in a seed are left out."""
    found: dict[str, list[float]] = {}
    for run in row.runs:
        found.setdefault(run.fold or "", []).append(run.metrics.get(metric, math.nan))
    return _means(found)


def _responses(row: Entry, metric: str) -> Scores:
    """The score of each response, averaged over seeds."""
    table = every(row, "responses")
    if metric not in table:
        return {}
    found: dict[str, list[float]] = {}
    for name, value in zip(table["response"].astype(str), table[metric], strict=True):
        found.setdefault(name, []).append(float(value) if value is not None else math.nan)
    return _means(found)


def _means(found: Mapping[str, Sequence[float]]) -> Scores:
    means = {name: sum(values) / len(values) for name, values in found.items()}
    return {name: mean for name, mean in means.items() if math.isfinite(mean)}


def _axis(axes: Axes, values: Sequence[float], definition: Definition) -> None:
    """Name the axis; scores that differ by orders of magnitude get a logarithmic one."""
    note = f"{definition.better} is better"
    if definition.target is not None:
        note = f"target {definition.target:g}"
    if min(values) > 0 and max(values) / min(values) > 20:
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5), numticks=12))
        axes.xaxis.set_minor_locator(NullLocator())
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    else:
        axes.xaxis.set_major_locator(MaxNLocator(7))
    axes.set_xlabel(f"{definition.heading}   ({note})")
    axes.margins(x=0.05)


def _mark(axes: Axes, row: Entry, x: float, y: float, label: str | None, hollow: bool) -> None:
    colour = light(row.kind)
    axes.plot(
        [x],
        [y],
        MARKERS[row.kind],
        color=colour,
        mfc=light("card") if hollow else colour,
        mew=1.5,
        ms=10 if row.kind == "ceiling" else 6.5,
        label=label,
    )


def _groups(
    rows: Sequence[Entry],
    found: Mapping[str, Scores],
    names: Sequence[str],
    metric: str,
    definition: Definition,
) -> str:
    """Lines are groups, marks are models; the last line is their overall score."""
    overall = {row.node: row.statistic(metric).mean for row in rows}
    lines = math.ceil(len(rows) / 3)
    labels = [*(shorten(name, 34) for name in names), "overall"]
    # Of several rows of one kind all but the best are hollow.
    hollow = {row.node: any(o.kind == row.kind for o in rows[:n]) for n, row in enumerate(rows)}

    def paint(axes: Axes) -> None:
        for n, name in enumerate(names):
            here = [found[row.node][name] for row in rows if name in found[row.node]]
            axes.plot([min(here), max(here)], [n, n], color=light("grid"), lw=3, zorder=1)
            for row in rows:
                if name in found[row.node]:
                    _mark(axes, row, found[row.node][name], n, None, hollow[row.node])
        axes.axhline(len(names) - 0.5, color=light("faint"), lw=0.8)
        for row in rows:
            _mark(
                axes, row, overall[row.node], len(names), shorten(row.label, 36), hollow[row.node]
            )
        values = [value for scores in found.values() for value in scores.values()]
        _axis(axes, [*values, *overall.values()], definition)
        axes.grid(axis="y", visible=False)
        axes.set_yticks(range(len(labels)), labels)
        axes.set_ylim(len(labels) - 0.4, -0.6)
        axes.figure.legend(
            *axes.get_legend_handles_labels(),
            loc="lower left",
            ncols=3,
            handletextpad=0.2,
            borderaxespad=0,
        )

    return draw(
        paint,
        _alt(rows, overall, f"{definition.label} of each group", len(names)),
        860,
        66 + 25 * len(labels) + 18 * lines,
        Margins(left=14 + 6.0 * max(map(len, labels)), right=18, bottom=52 + 18 * lines, top=8),
    )


def _strips(
    rows: Sequence[Entry],
    found: Mapping[str, Scores],
    names: Sequence[str],
    metric: str,
    definition: Definition,
) -> str:
    """Lines are models, small dots are groups."""
    overall = {row.node: row.statistic(metric).mean for row in rows}
    rows = sorted(rows, key=lambda row: definition.badness(overall[row.node]))
    labels = [shorten(row.label, 40) for row in rows]
    # Golden-section steps spread the dots of a line evenly and the same way for all models.
    height = {name: 0.4 * ((n * 0.618034) % 1 - 0.5) for n, name in enumerate(names)}

    def paint(axes: Axes) -> None:
        for n, row in enumerate(rows):
            scores = found[row.node]
            axes.plot(
                list(scores.values()),
                [n + height[name] for name in scores],
                "o",
                ms=3.6,
                mew=0,
                alpha=0.55,
                color=light(row.kind),
            )
            _mark(axes, row, overall[row.node], n, None, False)
        values = [value for scores in found.values() for value in scores.values()]
        _axis(axes, [*values, *overall.values()], definition)
        axes.grid(axis="y", visible=False)
        axes.set_yticks(range(len(labels)), labels)
        axes.set_ylim(len(labels) - 0.4, -0.6)

    return draw(
        paint,
        _alt(rows, overall, f"{definition.label} of each group", len(names)),
        860,
        58 + 32 * len(rows),
        Margins(left=14 + 6.0 * max(map(len, labels)), right=18, bottom=46, top=8),
    )


def _alt(rows: Sequence[Entry], overall: Scores, what: str, count: int) -> str:
    words = "; ".join(f"{row.label} {compact(overall[row.node])}" for row in rows)
    return f"{what} ({count} groups), overall: {words}"
