"""Means and variances of genes: a model may get the mean right and the spread of cells wrong."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import LogLocator, NullFormatter, NullLocator

from weir.report.curves import shorten
from weir.report.entries import Entry
from weir.report.figure import Figure, Margins, View, draw
from weir.report.numbers import number
from weir.report.points import dots, thin
from weir.report.theme import light
from weir.tasks.perturb.figure_tables import drawn, of, recorded, responses, titles

GENES = 400
"""Genes drawn in one panel."""
SHOWN = 3
"""Responses that a tab shows, with two panels each."""
FLOOR = 1e-3
"""Smaller means and variances are drawn at the edge."""


def moments(rows: Sequence[Entry]) -> Figure | None:
    """Means and variances of each gene, true against predicted, on logarithmic scales."""
    tables = {row.node: drawn(row, "genes") for row in rows}
    shown = [row for row in rows if not tables[row.node].empty]
    keys = responses([tables[row.node] for row in shown], SHOWN)
    if not keys:
        return None
    names = titles(keys)
    many = any(len(of(tables[row.node], key)) > GENES for row in shown for key in keys)
    views = tuple(
        View(
            row.label,
            tuple(
                _panel(
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
        + (f" Drawn are {GENES} genes, evenly spread." if many else ""),
        "Genes",
        views,
    )


def _panel(row: Entry, table: pd.DataFrame, name: str, moment: str, r2: float) -> str:
    pairs = table[[f"true_{moment}", f"predicted_{moment}"]].dropna().to_numpy(np.float64)
    pairs = pairs[np.argsort(pairs[:, 0], kind="stable")]
    pairs = np.maximum(pairs[thin(len(pairs), GENES)], FLOOR)

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
