"""Clouds of points are short, whole, and hide neither each other nor a name."""

from __future__ import annotations

import re
from xml.etree import ElementTree

import numpy as np
from matplotlib.axes import Axes

from weir.report.drawing.figure import draw
from weir.report.drawing.points import apart, dots, mingled, thin
from weir.report.drawing.theme import light


def cloud(count: int) -> tuple[np.ndarray, np.ndarray]:
    """Points on a curve that no two of them share."""
    x = np.linspace(0, 1, count)
    return x, np.sqrt(x)


def places(panel: str) -> list[list[str]]:
    """The dots of each path, in the order of drawing."""
    found = [
        re.findall(r"M([-\d.]+ [-\d.]+)h0", path) for path in re.findall(r' d="([^"]*)"', panel)
    ]
    return [path for path in found if path]


def test_every_point_is_drawn_once_in_few_bytes() -> None:
    empty = draw(lambda axes: None, "a")
    panel = draw(lambda axes: dots(axes, *cloud(300), "flow"), "a")
    (path,) = places(panel)
    assert len(path) == len(set(path)) == 300
    assert len(panel) - len(empty) < 300 * 20
    ElementTree.fromstring(panel)


def test_points_that_fall_together_are_said_once() -> None:
    panel = draw(lambda axes: dots(axes, [0, 1, 1, 1], [0, 1, 1, 1], "flow"), "a")
    assert [len(path) for path in places(panel)] == [2]


def test_missing_points_are_left_out_and_none_is_no_error() -> None:
    panel = draw(lambda axes: dots(axes, [0, np.nan, 1], [0, 1, np.inf], "flow"), "a")
    assert [len(path) for path in places(panel)] == [1]
    assert places(draw(lambda axes: dots(axes, [], [], "flow"), "a")) == []


def test_a_curve_that_is_drawn_as_a_line_stays_a_line() -> None:
    assert "h0" not in draw(lambda axes: axes.plot(*cloud(20)), "a")


def test_clouds_take_turns_and_have_one_name_each() -> None:
    def paint(axes: Axes) -> None:
        clouds = {"one": (*cloud(60), "flow"), "two": (*cloud(60), "joint")}
        mingled(axes, clouds, 3, 0.5)
        axes.legend()

    panel = draw(paint, "a")
    order = re.findall(r'h0" clip-path="[^"]*" style="[^"]*var\(--(\w+)\)', panel)
    assert order == ["flow", "joint"] * (len(order) // 2) and len(order) > 4
    assert sum(map(len, places(panel))) == 120
    shown = [node.text for node in ElementTree.fromstring(panel).iter() if node.text]
    assert shown.count("one") == shown.count("two") == 1


def test_the_colour_is_the_theme_s() -> None:
    assert light("flow") not in draw(lambda axes: dots(axes, [0], [0], "flow"), "a")


def test_thinning_keeps_the_ends() -> None:
    assert thin(3, 5).tolist() == [0, 1, 2]
    kept = thin(1000, 10)
    assert len(kept) == 10 and kept[0] == 0 and kept[-1] == 999


def test_labels_give_way_to_earlier_ones() -> None:
    corners = [[0, 0], [5, 0], [10, 0], [0, 20]]
    assert apart(corners, [[10, 10]] * 4, []) == [0, 2, 3]
    assert apart(corners, [[10, 10]] * 4, [(0, 0, 30, 5)]) == [3]
