"""Differences from the best baseline on the same windows, with the intervals of chance."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, MaxNLocator

from weir.metrics.paired import PairedDifference, paired_difference
from weir.report.drawing.curves import MARKERS, shorten
from weir.report.drawing.figure import Figure, Margins, View, draw
from weir.report.drawing.numbers import signed_percent
from weir.report.drawing.theme import light
from weir.report.entries import Entry, best, definitions
from weir.report.tables import averaged, has

PAIRED = ("crps", "energy_score", "mse", "crps_day_mean", "crps_increment")
"""Scores of single windows that are compared, a tab each."""


def paired(rows: Sequence[Entry]) -> Figure | None:
    """How far each model is from the best baseline, in percent of the baseline's score."""
    known = definitions(rows)
    rival = best([row for row in rows if row.kind == "baseline"], "crps", known["crps"])
    if rival is None or not has(rival, "windows"):
        return None
    models = [row for row in rows if row.kind not in ("baseline", "ceiling")]
    views = []
    for score in PAIRED:
        found = [
            (row, difference)
            for row in models
            if score in known and (difference := _difference(row, rival, score)) is not None
        ]
        if found:
            views.append(View(known[score].heading, (_forest(found, rival, known[score].label),)))
    if not views:
        return None
    return Figure(
        f"Against {rival.label}, window by window",
        "Mean difference over the same windows, averaged over seeds, with its 95 % interval. "
        "Windows that overlap are resampled together (block bootstrap), so the intervals allow for "
        "a different stretch of time, but not for different seeds. Hollow: the interval includes "
        "no difference.",
        "Results",
        tuple(views),
    )


def _difference(row: Entry, rival: Entry, score: str) -> PairedDifference | None:
    """The difference in one score; None if the two did not score the same windows."""
    if not has(row, "windows") or any(
        score not in run.tables["windows"] for run in (*row.runs, *rival.runs)
    ):
        return None
    ours, theirs = (
        averaged(entry, "windows", ["start"], [score], sort=True) for entry in (row, rival)
    )
    if not ours["start"].equals(theirs["start"]) or theirs[score].mean() == 0:
        return None
    steps = max(len(run.tables["horizon"]) for run in rival.runs) if has(rival, "horizon") else 1
    return paired_difference(ours[score], theirs[score], block=2 * steps)


def _forest(found: Sequence[tuple[Entry, PairedDifference]], rival: Entry, label: str) -> str:
    found = sorted(found, key=lambda pair: pair[1].relative)
    labels = [shorten(row.label, 40) for row, _ in found]

    def paint(axes: Axes) -> None:
        axes.grid(axis="y", visible=False)
        axes.axvline(0, color=light("ink"), lw=1)
        for n, (row, difference) in enumerate(found):
            colour = light(row.kind)
            base = difference.mean / difference.relative if difference.relative else 1.0
            axes.plot([difference.low / base, difference.high / base], [n, n], color=colour, lw=2)
            axes.plot(
                [difference.relative],
                [n],
                MARKERS[row.kind],
                color=colour,
                mfc=colour if difference.significant else light("card"),
                mew=1.4,
                ms=7,
            )
        axes.set_yticks(range(len(found)), labels)
        axes.set_ylim(len(found) - 0.4, -0.6)
        axes.margins(x=0.08)
        axes.xaxis.set_major_locator(MaxNLocator(7))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda share, _: signed_percent(share)))
        axes.set_xlabel(f"{label} relative to {shorten(rival.label)}   (left is better)")

    words = "; ".join(f"{row.label} {signed_percent(d.relative, 1)}" for row, d in found)
    return draw(
        paint,
        f"Difference in {label} from {rival.label}: {words}",
        860,
        58 + 28 * len(found),
        Margins(left=14 + 6.0 * max(map(len, labels)), right=24, bottom=46, top=8),
    )
