"""Sheets of small pictures in a page: one PNG for a whole grid, the rest is lines and words.

A page with a thousand pictures would be a thousand elements with a file header each. Here a grid
is one image of as many pixels as its pictures have, drawn larger by the browser without smoothing.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

import numpy as np
import pandas as pd
from PIL import Image

from weir.report.entries import Entry
from weir.report.tables import drawn

RANKING = "energy_score"
"""Metric by which the models of a figure are chosen, where they have it."""

GREYS = 16
"""Shades of grey in a sheet, 4 bits a pixel: noise is costly, and nobody measures greys here."""
TINTS = 128
"""Colours of a sheet, chosen for it."""

Picture = np.ndarray
"""`[height, width]` or `[height, width, 3]`, uint8."""


@dataclass(frozen=True)
class Grid:
    """Pictures `[row][column]` of one size; None leaves a place empty.

    `rows` and `columns` are the words beside and above them, empty for none.
    """

    pictures: Sequence[Sequence[Picture | None]]
    rows: Sequence[str] = ()
    columns: Sequence[str] = ()

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        return len(self.pictures), max(map(len, self.pictures))

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of one picture, in pixels."""
        found = next(item for row in self.pictures for item in row if item is not None)
        return found.shape[0], found.shape[1]


def opened(png: bytes) -> Picture:
    """A picture from the bytes of its file, grey or in colour, 8 bits."""
    image = Image.open(io.BytesIO(png))
    return np.asarray(image.convert("L" if image.mode in ("1", "L") else "RGB"))


def sprite(grid: Grid) -> bytes:
    """PNG of all pictures side by side, without gaps, in few shades. Empty places are black."""
    (rows, columns), (height, width) = grid.shape, grid.size
    colour = any(item is not None and item.ndim == 3 for line in grid.pictures for item in line)
    canvas = np.zeros((rows * height, columns * width, 3 if colour else 1), np.uint8)
    for n, line in enumerate(grid.pictures):
        for m, item in enumerate(line):
            if item is not None:
                place = canvas[n * height : (n + 1) * height, m * width : (m + 1) * width]
                place[:] = item if item.ndim == 3 else item[..., None]
    if colour:
        image = Image.fromarray(canvas).quantize(TINTS, dither=Image.Dither.NONE)
    else:
        step = 255 // (GREYS - 1)
        image = Image.fromarray(np.round(canvas[..., 0] / step).astype(np.uint8)).convert("P")
        image.putpalette([shade * step for shade in range(GREYS) for _ in "rgb"])
    buffer = io.BytesIO()
    image.save(buffer, "PNG", optimize=True, bits=8 if colour else 4)
    return buffer.getvalue()


SIDE, HEAD, GAP = 6.2, 18.0, 3.0
"""Width of a letter, height of a line of words, and of the lines between pictures."""


def sheet(
    grids: Sequence[Grid], alt: str, *, title: str = "", width: float = 860, largest: float = 72
) -> str:
    """Grids side by side as an `<svg>` at most `width` wide; `alt` is what a screen reader says.

    All pictures are drawn at one scale, the greater side of one at most `largest` wide.
    """
    margins = [SIDE * max(map(len, grid.rows), default=0) + 8 * bool(grid.rows) for grid in grids]
    between = 22.0 * (len(grids) - 1)
    room = width - sum(margins) - between
    pixels = sum(grid.shape[1] * grid.size[1] for grid in grids)
    scale = min(room / pixels, largest / max(max(grid.size) for grid in grids))
    top = (HEAD + 4) * bool(title) + HEAD * any(grid.columns for grid in grids)
    parts = [_words(title, 0, 13, "ink", weight="bold")] if title else []
    left, bottom = 0.0, top
    for grid, margin in zip(grids, margins, strict=True):
        left += margin
        parts.append(_grid(grid, left, top, scale))
        left += grid.shape[1] * grid.size[1] * scale + 22.0
        bottom = max(bottom, top + grid.shape[0] * grid.size[0] * scale)
    height = bottom + 2
    return (
        f'<svg viewBox="0 0 {width:g} {height:.1f}" width="{width:g}" height="{height:.1f}" '
        f'role="img" aria-label="{escape(alt, quote=True)}">{"".join(parts)}</svg>'
    )


def _grid(grid: Grid, left: float, top: float, scale: float) -> str:
    """One image, lines in the colour of the card between its pictures, and words around it."""
    (rows, columns), (height, width) = grid.shape, grid.size
    high, wide = height * scale, width * scale
    data = base64.b64encode(sprite(grid)).decode()
    parts = [
        f'<image x="{left:.1f}" y="{top:.1f}" width="{columns * wide:.1f}" '
        f'height="{rows * high:.1f}" preserveAspectRatio="none" '
        f'style="image-rendering:pixelated" href="data:image/png;base64,{data}"/>'
    ]
    lines = [f"M{left + m * wide:.1f} {top:.1f}v{rows * high:.1f}" for m in range(columns + 1)]
    lines += [f"M{left:.1f} {top + n * high:.1f}h{columns * wide:.1f}" for n in range(rows + 1)]
    parts.append(f'<path d="{"".join(lines)}" stroke="var(--card)" stroke-width="{GAP:g}"/>')
    gaps = [
        f"M{left + m * wide:.1f} {top + n * high:.1f}h{wide:.1f}v{high:.1f}h{-wide:.1f}z"
        for n in range(rows)
        for m in range(columns)
        if m >= len(grid.pictures[n]) or grid.pictures[n][m] is None
    ]
    if gaps:
        parts.append(
            f'<path d="{"".join(gaps)}" fill="var(--card)" stroke="var(--card)" '
            f'stroke-width="{GAP:g}"/>'
        )
    for n, word in enumerate(grid.rows):
        parts.append(_words(word, left - 8, top + (n + 0.5) * high + 4, "soft", anchor="end"))
    for m, word in enumerate(grid.columns):
        parts.append(_words(word, left + (m + 0.5) * wide, top - 6, "soft", anchor="middle"))
    return "".join(parts)


def _words(
    text: str, x: float, y: float, colour: str, *, anchor: str = "start", weight: str = "normal"
) -> str:
    if not text:
        return ""
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" '
        f'style="font-size:11px;font-weight:{weight};fill:var(--{colour})">{escape(text)}</text>'
    )


def blocks(count: int, columns: int, ratio: float) -> int:
    """Into how many blocks to cut `count` rows of `columns`, so that width / height is near
    `ratio`."""

    def distance(parts: int) -> float:
        rows = -(-count // parts)
        return abs(np.log(parts * columns / rows / ratio))

    return min(range(1, count + 1), key=distance)


def of_kind(row: Entry, name: str, kind: str) -> pd.DataFrame:
    """The part of a table of the first run that is of one kind; empty where there is none."""
    table = drawn(row, name)
    return table[table["kind"] == kind].reset_index(drop=True) if not table.empty else table


def lines(table: pd.DataFrame) -> list[list[Picture | None]]:
    """Pictures of one kind by row and column; a place that the table lacks is None."""
    columns = sorted(table["column"].unique())
    return [
        [opened(bytes(cells[column])) if column in cells else None for column in columns]
        for _, part in table.groupby("row", sort=True)
        for cells in [dict(zip(part["column"], part["png"], strict=True))]
    ]


def words(values: Sequence[object]) -> list[str]:
    """Labels as text: 3.0 is "3", a missing one is empty."""
    return [
        "" if value is None or value != value else f"{value:g}" if _number(value) else str(value)
        for value in values
    ]


def _number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
