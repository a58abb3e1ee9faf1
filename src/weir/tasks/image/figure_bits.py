"""Bits per dimension of the test pictures, one by one."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes

from weir.report.curves import dashes, shorten
from weir.report.entries import Entry
from weir.report.figure import Figure, Margins, View, draw
from weir.report.numbers import number
from weir.report.theme import light
from weir.tasks.image.figure_tables import chosen, mean_table

MODELS, BASELINES = 6, 2
BINS = 48


def bits(rows: Sequence[Entry]) -> Figure | None:
    """Histograms of all models with a likelihood, over each other."""
    tables = {row.node: mean_table(row, "bits", ["item"], ["bits"]) for row in rows}
    shown = [row for row in rows if not tables[row.node].empty]
    shown = chosen(shown, MODELS, BASELINES, tables)
    shown = sorted(shown, key=lambda row: float(tables[row.node]["bits"].mean()))
    if not shown:
        return None
    values = {row.node: tables[row.node]["bits"].to_numpy() for row in shown}
    return Figure(
        "Bits per dimension, picture by picture",
        "Test pictures by the number of bits that a model needs for each of their values: further "
        "left is better. A tail to the right is of pictures that the model holds to be all but "
        "impossible. Models without a likelihood have no line; the best of the others are shown.",
        "Likelihood",
        (View("all", (_histogram(shown, values),)),),
    )


def _histogram(rows: Sequence[Entry], values: dict[str, np.ndarray]) -> str:
    every = np.concatenate(list(values.values()))
    every = every[np.isfinite(every)]
    # A few hopeless pictures of one model are not to squeeze all others into a corner.
    low, high = float(every.min()), float(np.quantile(every, 0.99))
    high += 0.05 * (high - low) or 0.1
    edges = np.linspace(low, high, BINS + 1)
    styles = dashes(rows)

    def paint(axes: Axes) -> None:
        for row in rows:
            own = values[row.node]
            share, _ = np.histogram(np.minimum(own, high), edges)
            axes.stairs(
                100 * share / len(own),
                edges,
                color=light(row.kind),
                ls=styles[row.node],
                lw=1.3 if row.kind == "baseline" else 1.9,
                label=f"{shorten(row.label)} ({number(float(own.mean()), 2)})",
            )
        axes.set_xlim(low, high)
        axes.set_ylim(bottom=0)
        axes.set_xlabel("bits per dimension")
        axes.set_ylabel("per cent of the pictures")
        handles, labels = axes.get_legend_handles_labels()
        axes.figure.legend(
            handles, labels, loc="lower left", ncols=3, borderaxespad=0, handlelength=3
        )

    text = "; ".join(f"{row.label} {number(float(values[row.node].mean()), 2)}" for row in rows)
    lines = math.ceil(len(rows) / 3)
    return draw(
        paint,
        f"Bits per dimension of the test pictures, means: {text}",
        860,
        270 + 18 * lines,
        Margins(left=46, bottom=52 + 18 * lines, top=10),
    )
