"""Figures of genes: what a perturbation did to each against what the model says.

A model may get a gene's mean right and the spread of cells wrong, so that variances are drawn, too.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter, NullLocator

from weir.report.drawing.curves import shorten
from weir.report.drawing.figure import Figure, Margins, View, draw
from weir.report.drawing.numbers import number
from weir.report.drawing.points import apart, dots, thin
from weir.report.drawing.theme import light
from weir.report.entries import Entry
from weir.report.tables import folds
from weir.tasks.perturb.figures.responses import of, recorded, responses, titles

MOMENT_GENES = 400
"""Genes drawn in one panel."""
SHOWN = 3
"""Responses that a tab shows, with two panels each."""
FLOOR = 1e-3
"""Smaller means and variances are drawn at the edge."""


def moments(rows: Sequence[Entry]) -> Figure | None:
    """Means and variances of each gene, true against predicted, on logarithmic scales."""
    tables = {row.node: folds(row, "genes") for row in rows}
    shown = [row for row in rows if not tables[row.node].empty]
    keys = responses([tables[row.node] for row in shown], SHOWN)
    if not keys:
        return None
    names = titles(keys)
    many = any(len(of(tables[row.node], key)) > MOMENT_GENES for row in shown for key in keys)
    views = tuple(
        View(
            row.label,
            tuple(
                _moment_panel(
                    row,
                    of(tables[row.node], key),
                    names[key],
                    moment,
                    recorded(row, key, f"r2_{moment}"),
                )
                for moment in ("mean", "variance")
                for key in keys
            ),
        )
        for row in shown
    )
    return Figure(
        "Means and variances of the genes",
        "Over the cells of a response, on logarithmic scales. Variances below the dashed line say "
        f"that the model's cells are too much alike. What is less than {FLOOR:g} lies on the edge. "
        "R² is the coefficient of determination on the plain scale."
        + (f" Drawn are {MOMENT_GENES} genes, evenly spread." if many else ""),
        "Genes",
        views,
    )


def _moment_panel(row: Entry, table: pd.DataFrame, name: str, moment: str, r2: float) -> str:
    pairs = table[[f"true_{moment}", f"predicted_{moment}"]].dropna().to_numpy(np.float64)
    pairs = pairs[np.argsort(pairs[:, 0], kind="stable")]
    pairs = np.maximum(pairs[thin(len(pairs), MOMENT_GENES)], FLOOR)

    def paint(axes: Axes) -> None:
        low, high = (pairs.min() / 1.5, pairs.max() * 1.5) if len(pairs) else (FLOOR, 1.0)
        axes.set_xscale("log")
        axes.set_yscale("log")
        axes.plot([low, high], [low, high], color=light("ink"), lw=1, ls=(0, (4, 3)))
        dots(axes, pairs[:, 0], pairs[:, 1], row.kind, 3.4, 0.6)
        axes.set_xlim(low, high)
        axes.set_ylim(low, high)
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_major_locator(LogLocator(numticks=6))
            axis.set_minor_locator(NullLocator())
            axis.set_minor_formatter(NullFormatter())
            axis.set_major_formatter(lambda value, _: f"{value:g}")
        axes.set_xlabel(f"true {moment}")
        axes.set_ylabel(f"predicted {moment}")
        axes.set_title(f"{shorten(name, 24)}, R² = {number(r2, 2)}")

    return draw(
        paint,
        f"{moment.capitalize()} of genes in {name}, true against predicted by {row.label}: "
        f"R² = {number(r2, 3)}",
        290,
        265,
        Margins(left=58),
    )


GENES = 400
"""Genes drawn in one panel: those with the largest true or predicted shift."""
NAMED = 8
"""Genes whose names are printed, where there is room."""


def shifts(rows: Sequence[Entry]) -> Figure | None:
    """Mean shift of each gene, true against predicted, for the best model of each kind."""
    tables = {row.node: folds(row, "genes") for row in rows}
    shown = [row for row in rows if not tables[row.node].empty]
    keys = responses([tables[row.node] for row in shown])
    if not keys:
        return None
    names = titles(keys)
    parts = {(row.node, key): shift(of(tables[row.node], key)) for row in shown for key in keys}
    limits = {key: _limits([parts[row.node, key] for row in shown]) for key in keys}
    views = tuple(
        View(
            row.label,
            tuple(
                _panel(
                    row,
                    parts[row.node, key],
                    names[key],
                    limits[key],
                    recorded(row, key, "pearson_delta"),
                )
                for key in keys
            ),
        )
        for row in shown
    )
    most = max(map(len, parts.values()))
    return Figure(
        "Shift of each gene",
        "Mean expression of perturbed less control cells; on the dashed line the prediction is "
        "exact, on the level line through zero the model foresees nothing. Dark: the genes that "
        "are differentially expressed in truth. r is the response's Pearson delta."
        + (f" Drawn are the {GENES} genes that shift most." if most > GENES else ""),
        "Genes",
        views,
    )


def shift(table: pd.DataFrame) -> pd.DataFrame:
    """Columns gene, de, true and predicted: `[gene]` mean shifts from control."""
    return pd.DataFrame(
        {
            "gene": [shorten(str(gene), 14) for gene in table["gene"]],
            "de": table["de"].astype(bool),
            "true": table["true_mean"] - table["control_mean"],
            "predicted": table["predicted_mean"] - table["control_mean"],
        }
    ).dropna()


def _limits(parts: Sequence[pd.DataFrame]) -> tuple[float, float]:
    every = np.concatenate([part[["true", "predicted"]].to_numpy().ravel() for part in parts])
    low, high = (float(every.min()), float(every.max())) if len(every) else (0.0, 1.0)
    room = 0.08 * (high - low) or 0.1
    return low - room, high + room


def _panel(
    row: Entry, table: pd.DataFrame, name: str, limits: tuple[float, float], r: float
) -> str:
    size = table[["true", "predicted"]].abs().max(axis=1)
    table = table.loc[size.sort_values(ascending=False, kind="stable").index[:GENES]]

    def paint(axes: Axes) -> None:
        axes.set_xlim(*limits)
        axes.set_ylim(*limits)
        axes.plot(limits, limits, color=light("faint"), lw=1, ls=(0, (4, 3)))
        axes.axhline(0, color=light("faint"), lw=0.8)
        rest, de = table[~table["de"]], table[table["de"]]
        dots(axes, rest["true"], rest["predicted"], row.kind, 3.4, 0.55)
        dots(axes, de["true"], de["predicted"], "ink", 3.8, 0.85)
        axes.set_xlim(*limits)
        axes.set_ylim(*limits)
        _names(axes, table)
        axes.xaxis.set_major_locator(MaxNLocator(5))
        axes.yaxis.set_major_locator(MaxNLocator(5))
        axes.set_xlabel("true shift")
        axes.set_ylabel("predicted shift")
        axes.set_title(f"{shorten(name, 26)}, r = {number(r, 2)}")

    return draw(
        paint,
        f"Shift of genes in {name}, true against predicted by {row.label}: r = {number(r, 3)}",
        290,
        265,
        Margins(left=50),
    )


def _names(axes: Axes, table: pd.DataFrame) -> None:
    """Print the names of the genes that shift most in truth, none over another."""
    order = table["true"].abs().sort_values(ascending=False, kind="stable").index
    top = table.loc[order[:NAMED]]
    if top.empty:
        return
    points = axes.transData.transform(top[["true", "predicted"]].to_numpy())
    frame = axes.get_window_extent()
    scale = 72 / axes.figure.dpi
    points, right = points * scale, frame.x1 * scale
    sizes = np.array([[5.4 * len(gene), 10.0] for gene in top["gene"]])
    # Names stand right of their dots, or left of them where the panel ends.
    left = points[:, 0] + 5 + sizes[:, 0] > right
    corners = points + np.column_stack([np.where(left, -5 - sizes[:, 0], 5), np.full(len(top), -4)])
    for n in apart(corners, sizes, []):
        axes.annotate(
            top["gene"].iloc[n],
            (top["true"].iloc[n], top["predicted"].iloc[n]),
            xytext=(-5 if left[n] else 5, 0),
            textcoords="offset points",
            ha="right" if left[n] else "left",
            va="center",
            fontsize=9,
            color=light("soft"),
        )
