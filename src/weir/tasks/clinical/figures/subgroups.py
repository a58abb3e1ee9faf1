"""Scores of subgroups: a score of all can hide those whom it serves badly."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from weir.report.drawing.curves import MARKERS, shorten
from weir.report.drawing.figure import Figure, Margins, View, draw
from weir.report.drawing.numbers import number
from weir.report.drawing.theme import light
from weir.report.entries import Entry, definitions, featured
from weir.report.tables import averaged

METRICS = ("auroc", "auprc", "calibration_error", "brier")
KEYS = ["subgrouping", "group", "metric"]
ALL = "all records"


class Line(NamedTuple):
    """A line of the plot: a group, whose heading stands above it if it is the first."""

    subgrouping: str
    group: str
    records: int
    positives: int


def subgroups(rows: Sequence[Entry]) -> Figure | None:
    """A forest plot for each score: the best model of each kind and the best baseline, by group."""
    known = definitions(rows)
    if "auroc" not in known:
        return None
    best = [
        row
        for row in featured(rows, "auroc", known["auroc"])
        if row.kind != "ceiling" and any("subgroups" in run.tables for run in row.runs)
    ]
    if not best:
        return None
    tables = {row.node: averaged(row, "subgroups", KEYS, ["value", "low", "high"]) for row in best}
    lines = _lines(best[0])
    if len(lines) < 2:
        return None
    views = [
        View(known[metric].heading, (_forest(best, tables, lines, metric, known[metric].heading),))
        for metric in METRICS
        if metric in known
    ]
    return Figure(
        "Scores of subgroups",
        "Bars are 95 % intervals of resampled subjects; averaged over seeds and splits, so that "
        "with several splits the bars are those of one. On the right: records, and those with the "
        "outcome, of the smallest seed. The dashed line is the first model's score of all records. "
        "A group too small for a score says so. Groups differ in the rate of the outcome, and "
        "AUPRC and Brier score with it: compare models within a group.",
        "Subgroups",
        tuple(views),
    )


def _lines(row: Entry) -> list[Line]:
    """Groups in the order in which they were written, with their sizes over the splits."""
    parts = [
        run.tables["subgroups"]
        for run in row.runs
        if run.seed == row.first.seed and "subgroups" in run.tables
    ]
    whole = pd.concat(parts)
    whole = whole[whole["metric"] == METRICS[0]]
    sizes = whole.groupby(["subgrouping", "group"], sort=False)[["records", "positives"]].sum()
    return [
        Line(*names, *map(int, size))
        for names, size in zip(sizes.index, sizes.to_numpy(), strict=True)
    ]


def _forest(
    rows: Sequence[Entry],
    tables: dict[str, pd.DataFrame],
    lines: Sequence[Line],
    metric: str,
    label: str,
) -> str:
    labels = [_label(line) for line in lines]
    found = {
        row.node: tables[row.node][tables[row.node]["metric"] == metric].set_index(
            ["subgrouping", "group"]
        )
        for row in rows
    }
    step = 0.7 / max(len(rows), 2)

    def paint(axes: Axes) -> None:
        for k, row in enumerate(rows):
            for n, line in enumerate(lines):
                y = n + (k - (len(rows) - 1) / 2) * step
                key = (line.subgrouping, line.group)
                if key not in found[row.node].index:
                    continue
                value, low, high = found[row.node].loc[key, ["value", "low", "high"]]
                if pd.isna(value):
                    continue
                axes.plot([low, high], [y, y], color=light(row.kind), lw=1.4)
                axes.plot([value], [y], MARKERS[row.kind], ms=6, mew=0, color=light(row.kind))
            axes.plot(
                [],
                [],
                MARKERS[row.kind],
                ms=6,
                mew=0,
                color=light(row.kind),
                label=shorten(row.label, 34),
            )
        whole = found[rows[0].node].loc[(ALL, ALL), "value"]
        axes.axvline(float(whole), color=light("faint"), lw=1, ls=(0, (4, 3)), zorder=0)
        edge = axes.get_xlim()[1]
        for n, line in enumerate(lines):
            key = (line.subgrouping, line.group)
            known = any(
                key in found[row.node].index and pd.notna(found[row.node].loc[key, "value"])
                for row in rows
            )
            text = f"  {line.records} / {line.positives}" + ("" if known else ", too few")
            axes.text(edge, n, text, va="center", fontsize=10, color=light("soft"))
        axes.set_xlim(right=edge)
        axes.grid(axis="y", visible=False)
        axes.set_yticks(range(len(lines)), labels)
        axes.set_ylim(len(lines) - 0.4, -0.6)
        axes.xaxis.set_major_locator(MaxNLocator(7))
        axes.set_xlabel(label)
        axes.figure.legend(
            *axes.get_legend_handles_labels(), loc="lower left", ncols=2, borderaxespad=0.2
        )

    words = "; ".join(
        f"{name} {number(float(value), 3)}"
        for name, value in zip(labels, found[rows[0].node]["value"], strict=False)
    )
    legend = 18 * ((len(rows) + 1) // 2)
    return draw(
        paint,
        f"{label} of {rows[0].label} by subgroup: {words}",
        860,
        80 + 30 * len(lines) + legend,
        Margins(left=14 + 6.0 * max(map(len, labels)), right=150, bottom=48 + legend, top=10),
    )


def _label(line: Line) -> str:
    return line.group if line.subgrouping == ALL else shorten(f"{line.subgrouping}: {line.group}")
