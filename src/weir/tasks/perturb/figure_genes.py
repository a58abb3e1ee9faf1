"""Shifts of genes: what the perturbation did to each against what the model says."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from weir.report.curves import shorten
from weir.report.entries import Entry
from weir.report.figure import Figure, Margins, View, draw
from weir.report.numbers import number
from weir.report.points import apart, dots
from weir.report.theme import light
from weir.tasks.perturb.figure_tables import drawn, of, recorded, responses, titles

GENES = 400
"""Genes drawn in one panel: those with the largest true or predicted shift."""
NAMED = 8
"""Genes whose names are printed, where there is room."""


def shifts(rows: Sequence[Entry]) -> Figure | None:
    """Mean shift of each gene, true against predicted, for the best model of each kind."""
    tables = {row.node: drawn(row, "genes") for row in rows}
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
