"""Figures of densities and denoisers: bits per dimension of the test pictures, one by one, and the
error at each noise level, beside closed-form denoisers.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator

from weir.report.drawing.curves import MARKERS, dashes, shorten
from weir.report.drawing.figure import Figure, Margins, View, draw
from weir.report.drawing.numbers import compact, number
from weir.report.drawing.theme import light
from weir.report.entries import Entry
from weir.report.tables import averaged, chosen
from weir.tasks.image.figures.sheet import RANKING

BITS_MODELS, BITS_BASELINES = 6, 2
BINS = 48


def bits(rows: Sequence[Entry]) -> Figure | None:
    """Histograms of all models with a likelihood, over each other."""
    tables = {row.node: averaged(row, "bits", ["item"], ["bits"], sort=True) for row in rows}
    shown = [row for row in rows if not tables[row.node].empty]
    shown = chosen(shown, RANKING, BITS_MODELS, BITS_BASELINES, tables)
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


MODELS, BASELINES = 8, 4


def denoising(rows: Sequence[Entry]) -> Figure | None:
    """Mean squared error against noise, both logarithmic; and relative to the best model."""
    curves = {row.node: _curve(row) for row in rows}
    shown = [row for row in rows if not curves[row.node].empty]
    shown = chosen(shown, RANKING, MODELS, BASELINES, curves)
    if not shown:
        return None
    table = pd.DataFrame({row.node: curves[row.node]["mse"] for row in shown}).sort_index()
    relative = table.div(table.min(axis=1), axis=0)
    panels = [_panel(shown, table, "mean squared error", "Share of the variance", "log")]
    if len(shown) > 1:
        panels.append(_panel(shown, relative, "error over the least", "Beside the best", "linear"))
    return Figure(
        "Denoising error",
        "Mean squared error of the denoised test split against the noise, which is in deviations "
        "of the data: as a share of the data's variance, and over the least error of any model at "
        "that noise (cut off where it is more than twice the least). Grey: baselines, which "
        "denoise in closed form. Mean over seeds.",
        "Denoising",
        (View("all", tuple(panels)),),
    )


def _curve(row: Entry) -> pd.DataFrame:
    """Errors by sigma; no place on logarithmic axes has what is not positive."""
    table = averaged(row, "denoising", ["sigma"], ["mse"], sort=True).astype(float)
    table = table[(table["sigma"] > 0) & (table["mse"] > 0)]
    return table.set_index("sigma")


WORST = 2.0
"""Highest ratio that is drawn."""


def _panel(rows: Sequence[Entry], table: pd.DataFrame, axis: str, title: str, scale: str) -> str:
    styles = dashes(rows)

    def paint(axes: Axes) -> None:
        for row in rows:
            curve = table[row.node].dropna()
            axes.plot(
                curve.index,
                curve,
                color=light(row.kind),
                ls=styles[row.node],
                lw=1.3 if row.kind == "baseline" else 1.8,
                marker=MARKERS[row.kind],
                ms=4 if len(curve) < 12 else 0,
                mew=0,
                label=shorten(row.label, 26),
                clip_on=scale == "linear",
            )
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.xaxis.set_minor_locator(NullLocator())
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        if scale == "log":
            axes.set_yscale("log")
            wide = table.max().max() > 30 * table.min().min()
            axes.yaxis.set_major_locator(LogLocator(subs=(1,) if wide else (1, 2, 5)))
            axes.yaxis.set_minor_locator(NullLocator())
            axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        else:
            top = min(float(table.max().max()), WORST)
            axes.set_ylim(1 - 0.04 * (top - 1 or 1), top + 0.04 * (top - 1 or 1))
            axes.yaxis.set_major_locator(MaxNLocator(5))
        axes.set_xlabel("noise, deviations of the data")
        axes.set_title(title)
        handles, labels = axes.get_legend_handles_labels()
        axes.figure.legend(
            handles, labels, loc="lower left", ncols=2, borderaxespad=0, handlelength=3
        )

    middle = table.index[abs(pd.Series(table.index) - 1).argmin()]
    words = "; ".join(f"{row.label} {compact(table[row.node].get(middle))}" for row in rows)
    lines = math.ceil(len(rows) / 2)
    return draw(
        paint,
        f"Denoising, {axis} at noise {middle:g}: {words}",
        430,
        290 + 18 * lines,
        Margins(left=52, bottom=52 + 18 * lines),
    )
