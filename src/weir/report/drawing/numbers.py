"""Numbers as the report prints them: even decimals in a column, a dash where there is none."""

from __future__ import annotations

import math
from collections.abc import Iterable

DASH = "–"
THIN = "\u202f"
"""Narrow no-break space, between groups of digits and before a unit."""


def decimals(values: Iterable[float]) -> int:
    """Decimals that give the typical value of a column four significant digits."""
    sizes = sorted(abs(value) for value in values if math.isfinite(value) and value != 0)
    if not sizes:
        return 3
    magnitude = math.floor(math.log10(sizes[len(sizes) // 2]))
    return min(max(3 - magnitude, 0), 4)


def number(value: float | None, places: int = 4) -> str:
    """A fixed number of decimals with a true minus sign; a dash for NaN, infinity and None."""
    if value is None or not math.isfinite(value):
        return DASH
    text = f"{value:,.{places}f}".replace(",", THIN)
    if float(text.replace(THIN, "")) == 0:
        text = text.lstrip("-")
    return text.replace("-", "−")


def compact(value: float | None) -> str:
    """Three significant digits, for axis notes and cards: 0.0123, 1.25, 12 300."""
    if value is None or not math.isfinite(value):
        return DASH
    if value == 0:
        return "0"
    places = max(2 - math.floor(math.log10(abs(value))), 0)
    return number(value, min(places, 6))


def quantity(value: float | None) -> str:
    """A time or size in a column of unlike magnitudes: 1 840, 61.0, 0.05."""
    if value is None or not math.isfinite(value):
        return DASH
    return number(value, 0 if abs(value) >= 100 else 1 if abs(value) >= 1 else 2)


def percent(share: float, places: int = 1) -> str:
    """A share as a percentage without sign: 0.021 -> "2.1 %"; a dash if unknown."""
    if not math.isfinite(share):
        return DASH
    return f"{number(abs(share) * 100, places)}{THIN}%"


def signed_percent(share: float, places: int | None = None) -> str:
    """A change as a percentage with its sign; without `places` as short as it can be: "+2.5 %"."""
    if not math.isfinite(share):
        return DASH
    shown = f"{abs(share) * 100:.{places}f}" if places is not None else f"{abs(share) * 100:.3g}"
    sign = "" if float(shown) == 0 else "−" if share < 0 else "+"
    return f"{sign}{shown}{THIN}%"


def duration(seconds: float | None) -> str:
    """A span of time in its natural unit: 340 ms, 12.5 s, 3 min 20 s, 2 h 05 min."""
    if seconds is None or not math.isfinite(seconds):
        return DASH
    if seconds < 0.0995:
        return f"{compact(seconds * 1000)} ms"
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"
