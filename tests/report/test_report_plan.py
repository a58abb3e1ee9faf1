"""Plans fold over seeds, are laid out without overlap, and are drawn as well-formed SVG."""

from __future__ import annotations

import re
from itertools import pairwise
from xml.etree import ElementTree

import pytest
import synthetic
from hypothesis import given, settings
from hypothesis import strategies as st

from weir.errors import WeirError
from weir.report.graph.nodes import PlanGraph, depths
from weir.report.graph.placement import BEND, arrange
from weir.report.graph.svg import dag_svg


def small(*edges: tuple[str, str]) -> PlanGraph:
    names = sorted({end for edge in edges for end in edge})
    nodes = [{"id": name, "section": name, "name": "n", "seed": None} for name in names]
    return PlanGraph.of({"nodes": nodes, "edges": [list(edge) for edge in edges]})


def test_seeds_fold_into_one_node() -> None:
    plan = synthetic.plan(seeds=(0, 1, 2))
    flow = next(node for node in plan.nodes if node.id == "stage2/etth1-flow")
    assert flow.seeds == (0, 1, 2)
    assert plan.edges.count(("stage1/etth1-itrans", "stage2/etth1-flow")) == 1
    assert len(plan.nodes) == len(synthetic.plan(seeds=(0,)).nodes)


def test_ancestors_and_nearest_parents() -> None:
    plan = synthetic.plan()
    assert "stage2/etth1-flow" in plan.ancestors("evaluate/etth1-onestep")
    assert "stage2/etth1-direct" not in plan.ancestors("evaluate/etth1-onestep")
    assert plan.nearest_parents("evaluate/etth1-flow") == ["stage2/etth1-flow"]


def test_the_reduction_keeps_what_can_be_reached() -> None:
    plan = synthetic.plan()
    lean = plan.reduced()
    assert len(lean.edges) < len(plan.edges)
    for node in plan.nodes:
        assert lean.ancestors(node.id) == plan.ancestors(node.id)


def test_depth_is_the_longest_path() -> None:
    edges = [("a", "b"), ("b", "c"), ("a", "c")]
    assert depths("abc", edges) == {"a": 0, "b": 1, "c": 2}


def test_a_circle_and_a_dangling_edge_are_named() -> None:
    with pytest.raises(WeirError, match="circle through a/n, b/n"):
        small(("a", "b"), ("b", "a"))
    with pytest.raises(WeirError, match="'ghost'"):
        PlanGraph.of({"nodes": [], "edges": [["ghost", "ghost"]]})


def test_a_tangle_that_can_be_undone_is_undone() -> None:
    # Two chains whose order is swapped between the columns: drawn straight, nothing crosses.
    columns = {"a": 0, "b": 0, "x": 1, "y": 1}
    layout = arrange(
        columns, [("a", "y"), ("b", "x")], lambda _: 20, dict.fromkeys(columns, (0, 0))
    )
    heights = layout.heights
    assert (heights["a"] - heights["b"]) * (heights["y"] - heights["x"]) > 0


def test_bands_and_ranks_are_kept() -> None:
    columns = {"a": 0, "b": 0, "c": 0, "x": 1, "y": 1, "z": 2}
    edges = [("a", "y"), ("b", "x"), ("c", "x"), ("a", "z")]
    groups = {"a": (1, 0), "y": (1, 0), "z": (1, 0), "b": (0, 1), "c": (0, 0), "x": (0, 0)}
    layout = arrange(columns, edges, lambda _: 20, groups)
    heights = layout.heights
    assert heights["c"] < heights["b"] < heights["a"]
    assert heights["x"] < heights["y"]
    ((_, bend),) = layout.bends["a", "z"]
    assert heights["x"] < bend


def test_data_sets_are_drawn_one_below_the_other() -> None:
    picture = dag_svg(synthetic.plan(("etth1", "weather")))
    boxes = re.findall(
        r"<g><title>(\w+)/(etth1|weather).*?<rect x=\"[\d.]+\" y=\"([\d.]+)\"", picture
    )
    for section in ("baseline", "distill", "evaluate"):
        tops = {
            data: [float(y) for where, name, y in boxes if (where, name) == (section, data)]
            for data in ("etth1", "weather")
        }
        assert max(tops["etth1"]) < min(tops["weather"])


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_nothing_overlaps(data: st.DataObject) -> None:
    count = data.draw(st.integers(1, 14))
    names = [f"n{n}" for n in range(count)]
    pairs = [(a, b) for n, a in enumerate(names) for b in names[n + 1 :]]
    edges = data.draw(st.lists(st.sampled_from(pairs), unique=True, max_size=25)) if pairs else []
    columns = depths(names, edges)
    layout = arrange(columns, edges, lambda _: 30.0, dict.fromkeys(names, (0, 0)))
    for column in set(columns.values()):
        points = [(layout.heights[name], 30.0) for name in names if columns[name] == column]
        bends = {
            (source, y)
            for (source, _), passed in layout.bends.items()
            for at, y in passed
            if at == column
        }
        points += [(y, BEND) for _, y in bends]
        points.sort()
        for (y0, size0), (y1, size1) in pairwise(points):
            assert y1 - y0 >= (size0 + size1) / 2 - 1e-6
        assert all(y - size / 2 >= -1e-6 for y, size in points)
        assert all(y + size / 2 <= layout.extent + 1e-6 for y, size in points)


def test_the_picture_is_well_formed_and_stable() -> None:
    plan = synthetic.plan(("etth1", "weather"))
    picture = dag_svg(plan)
    assert picture == dag_svg(plan)
    root = ElementTree.fromstring(picture)
    shown = "".join(root.itertext())
    assert all(node.name in shown for node in plan.nodes)
    assert "prefers-color-scheme:dark" in picture
    assert "<style>" not in dag_svg(plan, standalone=False)


def test_boxes_stay_inside_the_picture() -> None:
    picture = dag_svg(synthetic.plan())
    width, height = map(float, re.search(r'viewBox="0 0 (\d+) (\d+)"', picture).groups())
    boxes = re.findall(r'<rect x="([\d.]+)" y="([\d.]+)" width="([\d.]+)" height="(\d+)"', picture)
    assert len(boxes) > 20
    for x, y, w, h in ((float(a), float(b), float(c), float(d)) for a, b, c, d in boxes):
        assert x + w <= width and y + h <= height


def test_names_are_escaped_and_an_empty_plan_is_refused() -> None:
    hostile = {"id": "x", "section": "stage1", "name": "<script>", "seed": None}
    assert "<script>" not in dag_svg(PlanGraph.of({"nodes": [hostile], "edges": []}))
    with pytest.raises(WeirError, match="no nodes"):
        dag_svg(PlanGraph((), ()))


def test_sections_that_feed_each_other_fall_back_to_depth() -> None:
    nodes = [
        {"id": f"{section}{n}", "section": section, "name": f"n{n}", "seed": None}
        for section in ("a", "b")
        for n in range(2)
    ]
    plan = PlanGraph.of({"nodes": nodes, "edges": [["a0", "b0"], ["b0", "a1"], ["a1", "b1"]]})
    ElementTree.fromstring(dag_svg(plan))
