"""Figures of a report: inline SVG drawn by matplotlib, small, deterministic and themed."""

from __future__ import annotations

import hashlib
import io
import re
from collections.abc import Callable
from dataclasses import dataclass
from html import escape

import matplotlib
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure as Canvas

from weir.report.drawing.theme import COLOURS, light, theme_css


@dataclass(frozen=True)
class View:
    """One tab of a figure: drawings that flow into as many columns as the page has room for."""

    label: str
    panels: tuple[str, ...]


@dataclass(frozen=True)
class Figure:
    """Drawings with the words that explain them.

    `section` is the heading under which the page files the figure; figures of the same section
    stay in the order given. With several views, the page shows one at a time.
    """

    title: str
    caption: str
    section: str
    views: tuple[View, ...]


_STYLE = {
    "svg.fonttype": "none",
    "svg.hashsalt": "weir",
    "text.parse_math": False,  # a name may hold a dollar sign
    "font.size": 11,
    "axes.titlesize": 11.5,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.labelsize": 11,
    "xtick.labelsize": 10.5,
    "ytick.labelsize": 10.5,
    "legend.fontsize": 10.5,
    "legend.frameon": False,
    "figure.facecolor": "none",
    "axes.facecolor": "none",
    "savefig.facecolor": "none",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.spines.left": False,
    "axes.edgecolor": light("faint"),
    "axes.linewidth": 0.8,
    "axes.labelcolor": light("soft"),
    "axes.titlecolor": light("ink"),
    "text.color": light("ink"),
    "xtick.color": light("soft"),
    "ytick.color": light("soft"),
    "xtick.major.size": 0,
    "ytick.major.size": 0,
    "xtick.major.pad": 6,
    "ytick.major.pad": 6,
    "xtick.minor.size": 0,
    "ytick.minor.size": 0,
    "axes.grid": True,
    "grid.color": light("grid"),
    "grid.linewidth": 1.0,
    "axes.axisbelow": True,
    "axes.unicode_minus": True,
    "lines.solid_capstyle": "round",
    "lines.linewidth": 1.8,
    "path.simplify_threshold": 0.3,
}


@dataclass(frozen=True)
class Margins:
    """Pixels kept free around the axes.

    Fixed ones align the axes of neighbouring panels, and cost a tenth of measuring every label.
    """

    left: float = 42
    right: float = 12
    bottom: float = 44
    top: float = 26


def draw(
    paint: Callable[[Axes], None],
    alt: str,
    width: float = 360,
    height: float = 240,
    margins: Margins = Margins(),
) -> str:
    """Let `paint` draw on fresh axes; returns an `<svg>` of `width` x `height` CSS pixels.

    The same drawing gives the same bytes. Colours must be `theme.light(...)` values: they become
    CSS variables. `alt` is what a screen reader says.
    """
    with matplotlib.rc_context(_STYLE):
        # matplotlib's SVG has one unit per point: 72 units to its inch.
        canvas = Canvas(figsize=(width / 72, height / 72))
        left, bottom = margins.left / width, margins.bottom / height
        right, top = 1 - margins.right / width, 1 - margins.top / height
        paint(canvas.add_axes((left, bottom, right - left, top - bottom)))
        buffer = io.StringIO()
        nothing = {"Date": None, "Creator": None, "Format": None, "Type": None}
        FigureCanvasSVG(canvas).print_svg(buffer, metadata=nothing)
    return _inline(buffer.getvalue(), alt, width, height)


def standalone(panel: str) -> str:
    """A panel as a file of its own: it brings its colours, light and dark, and a typeface."""
    style = (
        f"<style>{theme_css('svg')}text{{font-family:system-ui,-apple-system,Segoe UI,Roboto,"
        "Helvetica,Arial,sans-serif}*{stroke-linejoin:round}</style>"
        '<rect width="100%" height="100%" style="fill: var(--card)"/>'
    )
    head, body = panel.split(">", 1)
    return head.replace("<svg", '<svg xmlns="http://www.w3.org/2000/svg"', 1) + ">" + style + body


# The text keeps its size and takes the page's typeface; a path without a line is not seen.
_SURPLUS = re.compile(r" font-family: [^;\"]*;| transform=\"rotate\(-0 [^\"]*\"")
_NOTHING = re.compile(r"<g>\s*</g>|<g/>|<path d=\"[^\"]*\" style=\"fill: none\"/>")
_NUMBER = re.compile(r"-?\d+\.\d{2,}")
_COLOUR = re.compile("|".join(re.escape(pair[0]) for pair in COLOURS.values()))
_NAME_OF = {pair[0]: name for name, pair in COLOURS.items()}


def _inline(svg: str, alt: str, width: float, height: float) -> str:
    """Turn a stand-alone document into a lean, themed element with ids of its own."""
    body = svg[svg.index(">", svg.index("<svg")) + 1 : svg.rindex("</svg>")]
    body = re.sub(r"<!--.*?-->|<metadata>.*?</metadata>", "", body, flags=re.DOTALL)
    # The page says how lines join; matplotlib's own rule would reach beyond this drawing.
    body = re.sub(r"<defs>\s*<style.*?</style>\s*</defs>", "", body, flags=re.DOTALL)
    body = _outside_text(_SURPLUS, lambda _: "", body)
    body = _outside_text(_NUMBER, lambda m: f"{float(m[0]):.1f}".removesuffix(".0"), body)
    body = _outside_text(_COLOUR, lambda m: f"var(--{_NAME_OF[m[0]]})", body)
    body = re.sub(r' d="([^"]*)"', lambda m: f' d="{_path(m[1])}"', body)
    prefix = hashlib.sha256((alt + body).encode()).hexdigest()[:8]
    used = set(re.findall(r"(?:url\(#|href=\"#)([^)\"]+)", body))

    def name(match: re.Match[str]) -> str:
        return f' id="{prefix}{match[1]}"' if match[1] in used else ""

    body = re.sub(r' id="([^"]*)"', name, body)
    body = re.sub(r"(url\(#|href=\"#)", rf"\g<1>{prefix}", body)
    body = re.sub(r">\s+<", "><", body).replace("\n", " ").replace("xlink:href", "href")
    while (lean := _NOTHING.sub("", body)) != body:
        body = lean
    body = _ungrouped(body)
    label = escape(alt, quote=True)
    return (
        f'<svg viewBox="0 0 {width:g} {height:g}" width="{width:g}" height="{height:g}" '
        f'role="img" aria-label="{label}">{body.strip()}</svg>'
    )


def _ungrouped(body: str) -> str:
    """The same without groups that have no attribute, hence no effect: a tenth of the bytes."""
    plain: list[bool] = []

    def change(tag: re.Match[str]) -> str:
        if tag[0].endswith("/>"):
            return tag[0]
        if tag[0] != "</g>":
            plain.append(tag[0] == "<g>")
            return "" if plain[-1] else tag[0]
        return "" if plain.pop() else tag[0]

    return re.sub(r"</?g\b[^>]*>", change, body)


def _path(data: str) -> str:
    """The same path in fewer bytes: after a first L the coordinates of lines need no letter.

    A dot (a line of no length) is said once, however many fall on it.
    """
    data = " ".join(data.split())
    if _DOTS.fullmatch(data):
        return "".join(f"M{place}h0" for place in dict.fromkeys(_DOT.findall(data)))
    return re.sub(r"(?<=\d) L (?=[-\d])", " ", re.sub(r"^(M [-\d.]+ [-\d.]+) L ", r"\1 ", data))


_DOT = re.compile(r"M ([-\d.]+ [-\d.]+) L \1")
_DOTS = re.compile(r"(?:M ([-\d.]+ [-\d.]+) L \1 ?)+")


def _outside_text(
    pattern: re.Pattern[str], change: Callable[[re.Match[str]], str], body: str
) -> str:
    """Apply a substitution inside tags only: labels are the reader's words and stay."""
    return re.sub(r"<[^>]*>", lambda tag: pattern.sub(change, tag[0]), body)
