"""Training of the autoencoder watched: whether its latents collapse, and which loss goes where."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, MaxNLocator

from weir.report.drawing.curves import shorten
from weir.report.drawing.figure import Figure, Margins, View, draw
from weir.report.drawing.numbers import number
from weir.report.drawing.points import thin
from weir.report.drawing.theme import light
from weir.report.entries import Entry
from weir.report.tables import drawn

SHARES = {"active_units": ("active units", "stage1"), "beta": ("beta / its maximum", "faint")}
NATS = {
    "kl": ("KL", "teacher"),
    "mutual_information": ("mutual information", "stage1"),
    "prior_gap": ("gap to the prior", "evaluate"),
    "reconstruction_gain": ("reconstruction gain", "joint"),
}
PARTS = {
    "nll_values": ("values", "stage1"),
    "nll_counts": ("codes", "teacher"),
    "kl": ("KL", "evaluate"),
    "next_set": ("next set", "flow"),
}
OUTCOME = {"auroc": ("AUROC", "stage1"), "auprc": ("AUPRC", "joint")}
"""Columns of the history, what they are called, and their colours."""

POINTS = 160
Columns = Mapping[str, tuple[str, str]]


def monitor(rows: Sequence[Entry]) -> Figure | None:
    """What the latents told over the training of each autoencoder, and whether they collapsed."""
    views = []
    for row in rows:
        table = _history(row)
        if not _has(table, "train/active_units"):
            continue
        table = table.assign(**{"train/beta": _relative(table, "train/beta")})
        alarm = _first_alarm(table)
        panels = [
            _lines(row, table, "train/", SHARES, "share", alarm),
            _lines(row, table, "train/", NATS, "nats a set", alarm),
        ]
        told = "collapsed" if alarm is not None else "no collapse"
        views.append(View(f"{row.label}: {told}", tuple(panels)))
    if not views:
        return None
    return Figure(
        "Watch over the latents",
        "A unit is active if its posterior mean varies over sets by more than .01 (Burda et al.). "
        "Collapsed latents have no active unit, no mutual information and no gain in "
        "reconstruction over z = 0; KL alone is no information, as its other part is the gap of "
        "all posteriors together to the prior. Red: from here on the watch says collapsed. "
        "Remedies: a lower beta, free bits, a longer warm-up. First run of each model.",
        "Training",
        tuple(views),
    )


def training(rows: Sequence[Entry]) -> Figure | None:
    """Parts of the loss, divergence against reconstruction, scores of the outcome."""
    views = []
    for row in rows:
        table = _history(row)
        panels = []
        if _has(table, "train/nll_values"):
            panels.append(_lines(row, table, "train/", PARTS, "nats a set", None))
        if _has(table, "train/kl") and _has(table, "train/nll"):
            panels.append(_trade(row, table))
        if _has(table, "validation/auroc"):
            panels.append(_lines(row, table, "validation/", OUTCOME, "validation", None))
        if panels:
            views.append(View(row.label, tuple(panels)))
    if not views:
        return None
    return Figure(
        "Parts of the loss",
        "Training losses of the sets; reconstruction against divergence, from the first dot to the "
        "ring at the end; scores of the outcome on validation records. First run of each model.",
        "Training",
        tuple(views),
    )


def _history(row: Entry) -> pd.DataFrame:
    return drawn(row, "losses")


def _has(table: pd.DataFrame, column: str) -> bool:
    return column in table and bool(np.isfinite(table[column].astype(float)).any())


def _relative(table: pd.DataFrame, column: str) -> pd.Series:
    if column not in table:
        return pd.Series(np.nan, index=table.index)
    most = table[column].max()
    return table[column] / most if most > 0 else table[column]


def _first_alarm(table: pd.DataFrame) -> float | None:
    """Step of the first look after which the latents counted as collapsed."""
    if "train/collapsed" not in table:
        return None
    found = table.loc[table["train/collapsed"] > 0.5, "step"]
    return float(found.iloc[0]) if len(found) else None


def _lines(
    row: Entry, table: pd.DataFrame, part: str, columns: Columns, unit: str, alarm: float | None
) -> str:
    present = [name for name in columns if _has(table, part + name)]

    def paint(axes: Axes) -> None:
        tops, lows = [0.0], [0.0]
        for name in present:
            label, colour = columns[name]
            kept = table[["step", part + name]].dropna().to_numpy(np.float64)
            kept = kept[thin(len(kept), POINTS)]
            dashed = (0, (4, 3)) if name == "beta" else "-"
            axes.plot(kept[:, 0], kept[:, 1], color=light(colour), ls=dashed, label=label)
            # The first steps may be far off all that follows.
            late = kept[len(kept) // 20 :, 1]
            tops.append(float(late.max()))
            lows.append(float(late.min()))
        if alarm is not None:
            axes.axvspan(alarm, axes.get_xlim()[1], color=light("bad"), alpha=0.12, lw=0)
        room = 0.06 * (max(tops) - min(lows)) or 0.1
        axes.set_ylim(min(lows) - room, max(tops) + room)
        _steps(axes)
        axes.set_ylabel(unit)
        axes.figure.legend(
            *axes.get_legend_handles_labels(), loc="lower left", ncols=2, borderaxespad=0.2
        )

    names = ", ".join(columns[name][0] for name in present)
    told = "" if alarm is None else f"; collapsed from step {alarm:.0f} on"
    legend = 18 * ((len(present) + 1) // 2)
    return draw(
        paint,
        f"{names} over the training of {row.label}{told}",
        400,
        240 + legend,
        Margins(left=52, bottom=46 + legend, top=12),
    )


def _trade(row: Entry, table: pd.DataFrame) -> str:
    kept = table[["train/kl", "train/nll"]].dropna().to_numpy(np.float64)
    kept = kept[len(kept) // 20 :]
    kept = kept[thin(len(kept), POINTS)]

    def paint(axes: Axes) -> None:
        axes.plot(kept[:, 0], kept[:, 1], color=light(row.kind), lw=1.2, alpha=0.7)
        axes.plot(*kept[0], "o", ms=6, mew=0, color=light(row.kind))
        axes.plot(*kept[-1], "o", ms=8, mew=1.5, color=light(row.kind), mfc=light("card"))
        axes.set_xlabel("KL, nats a set")
        axes.set_ylabel("reconstruction, nats a set")
        axes.set_title(shorten(row.label))

    return draw(
        paint,
        f"Reconstruction loss against KL over the training of {row.label}: from "
        f"{number(kept[0, 1], 2)} at {number(kept[0, 0], 2)} to {number(kept[-1, 1], 2)} at "
        f"{number(kept[-1, 0], 2)}",
        330,
        265,
        Margins(left=58),
    )


def _steps(axes: Axes) -> None:
    axes.set_xlabel("step")
    axes.xaxis.set_major_locator(MaxNLocator(5))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: number(value, 0)))
