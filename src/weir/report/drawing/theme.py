"""Colours of the report, once for light and once for dark, as CSS variables.

Every mark in a figure names one of these instead of a fixed colour, so a page follows the
reader's setting without drawing anything twice. Hues of the kinds stay apart for the common forms
of colour blindness, and no figure relies on colour alone.
"""

from __future__ import annotations

COLOURS: dict[str, tuple[str, str]] = {
    # name: (light, dark)
    "paper": ("#fcfbf8", "#14181b"),
    "card": ("#ffffff", "#1b2024"),
    "sunken": ("#f4f2ec", "#101416"),
    "ink": ("#1d2429", "#e3e7ea"),
    "soft": ("#4f5a62", "#a9b4bb"),
    "faint": ("#646e75", "#8b969e"),
    "rule": ("#e5e1d8", "#2c3439"),
    "grid": ("#ece9e1", "#272f34"),
    "accent": ("#0b6a80", "#67c1d8"),
    "good": ("#1f7a4d", "#6cc796"),
    "bad": ("#b3382c", "#f08a7c"),
    "student": ("#00788c", "#52c3d9"),
    "teacher": ("#2f56c6", "#8fabff"),
    "flow": ("#7440b8", "#bd9bf5"),
    "joint": ("#b32d72", "#f08abb"),
    "ensemble": ("#0f5f8c", "#6cb8ea"),
    "head": ("#a4420a", "#f2a46b"),
    "stage1": ("#4a7611", "#a4cb62"),
    "baseline": ("#636b71", "#9aa4ab"),
    "ceiling": ("#8f5e00", "#e2b450"),
    "evaluate": ("#a34a17", "#eba274"),
}


def light(name: str) -> str:
    """The light colour of a name, which is also what drawings hold until they are themed."""
    return COLOURS[name][0]


def variable(name: str) -> str:
    """CSS value of a name; the light colour stands in where no page defines the variable."""
    return f"var(--{name}, {light(name)})"


def theme_css(root: str = ":root") -> str:
    """Variables for both settings; a page may force one by `data-theme` on its root."""

    def block(column: int) -> str:
        return "".join(f"--{name}:{pair[column]};" for name, pair in COLOURS.items())

    return (
        f"{root}{{color-scheme:light;{block(0)}}}\n"
        f"@media (prefers-color-scheme:dark){{{root}:not([data-theme=light])"
        f"{{color-scheme:dark;{block(1)}}}}}\n"
        f"{root}[data-theme=dark]{{color-scheme:dark;{block(1)}}}\n"
        f"@media print{{{root},{root}:not([data-theme=light]),{root}[data-theme=dark]"
        f"{{color-scheme:light;{block(0)}}}}}\n"
    )
