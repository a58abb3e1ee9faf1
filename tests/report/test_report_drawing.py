"""Inline drawings: lean, stable, themed, and safe whatever a label says."""

from __future__ import annotations

import re
from xml.etree import ElementTree

import pytest
from matplotlib.axes import Axes

from weir.report.drawing.figure import draw, standalone
from weir.report.drawing.theme import COLOURS, light, theme_css

HOSTILE = '<script>alert(1)</script> $x^{ & "quoted"'


def paint(axes: Axes) -> None:
    axes.plot([0, 1, 2], [0.123456, 2.5, 1.25], color=light("student"), label=HOSTILE, marker="o")
    axes.set_title(HOSTILE)
    axes.legend()


def test_a_drawing_is_well_formed_and_the_same_each_time() -> None:
    first = draw(paint, "A line")
    assert first == draw(paint, "A line")
    root = ElementTree.fromstring(first)
    assert root.get("role") == "img"
    assert root.get("aria-label") == "A line"
    assert root.get("viewBox") == "0 0 360 240"


def test_labels_are_kept_to_the_letter_but_harmless() -> None:
    picture = draw(paint, HOSTILE)
    assert "<script" not in picture
    shown = "".join(ElementTree.fromstring(picture).itertext())
    assert HOSTILE in shown


def test_nothing_is_written_that_is_not_seen() -> None:
    def clipped(axes: Axes) -> None:
        axes.plot([0, 1], [0, 1], label="a <g>b</g> c", gid="kept")
        axes.legend()

    picture = draw(clipped, "A line")
    assert "<g>" not in picture and 'style="fill: none"/>' not in picture
    assert "a <g>b</g> c" in "".join(ElementTree.fromstring(picture).itertext())
    groups = [node for node in ElementTree.fromstring(picture).iter() if node.tag == "g"]
    assert all(node.attrib for node in groups)
    assert picture.count("stroke: #") + picture.count("stroke: var") >= 2


def test_colours_follow_the_theme() -> None:
    picture = draw(paint, "A line")
    assert "var(--student)" in picture
    assert not re.search(r"(?:fill|stroke): #(?!000)", picture)


def test_a_panel_can_leave_the_page() -> None:
    file = standalone(draw(paint, "A line"))
    root = ElementTree.fromstring(file)
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    assert set(re.findall(r"var\((--[a-z0-9]+)\)", file)) <= set(
        re.findall(r"--[a-z0-9]+(?=:)", file)
    )


def test_a_label_that_looks_like_a_colour_stays() -> None:
    def words(axes: Axes) -> None:
        axes.set_title(light("student") + " 0.123456")

    assert light("student") + " 0.123456" in draw(words, "words")


def test_two_drawings_share_no_id() -> None:
    ids = [set(re.findall(r' id="([^"]+)"', draw(paint, alt))) for alt in ("one", "two")]
    assert ids[0] and not ids[0] & ids[1]
    for reference in re.findall(r"url\(#([^)]+)\)", draw(paint, "one")):
        assert reference in ids[0]


def test_every_line_survives_the_leaner_path() -> None:
    picture = draw(lambda axes: axes.plot(range(50), [n * n for n in range(50)]), "curve")
    longest = max(re.findall(r' d="([^"]*)"', picture), key=len)
    numbers = re.findall(r"-?[\d.]+", longest)
    assert longest.startswith("M ") and longest.count("L") == 0
    assert len(numbers) % 2 == 0 and len(numbers) > 60


def contrast(one: str, other: str) -> float:
    """Contrast ratio of WCAG 2."""

    def luminance(colour: str) -> float:
        parts = [int(colour[n : n + 2], 16) / 255 for n in (1, 3, 5)]
        linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    high, low = sorted((luminance(one), luminance(other)), reverse=True)
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("setting", [0, 1], ids=["light", "dark"])
@pytest.mark.parametrize("name", sorted(set(COLOURS) - {"paper", "card", "sunken", "rule", "grid"}))
def test_words_and_marks_stand_out(name: str, setting: int) -> None:
    for ground in ("paper", "card", "sunken"):
        assert contrast(COLOURS[name][setting], COLOURS[ground][setting]) >= 4.5


def test_the_theme_defines_every_colour_for_light_dark_and_print() -> None:
    css = theme_css()
    for name in COLOURS:
        assert css.count(f"--{name}:") == 4
