"""A picture of the plan as SVG: one column per stage, one box per node, seeds folded."""

from __future__ import annotations

from html import escape
from itertools import pairwise

from weir.errors import WeirError
from weir.report.drawing.theme import COLOURS, theme_css, variable
from weir.report.graph.nodes import PlanGraph, PlanNode, depths
from weir.report.graph.placement import arrange

COLOUR_OF = {
    "datasets": "faint",
    "fetch": "faint",
    "preprocess": "faint",
    "stage1": "stage1",
    "stage2": "flow",
    "joint": "joint",
    "baseline": "baseline",
    "teacher": "teacher",
    "distill": "student",
    "evaluate": "evaluate",
    "report": "ink",
}
"""Colour of each section; a section that is not listed is drawn in the accent."""

BOX, GAP, BETWEEN, MARGIN, HEADER = 24.0, 8.0, 34.0, 6.0, 26.0
LETTER = 6.8
"""Mean width of a letter at 11.5 px, pixels."""


def dag_svg(plan: PlanGraph, standalone: bool = True) -> str:
    """Draw a plan; an edge that a longer path implies is left out.

    Args:
        standalone: carry the colours along, for a file of its own (light and dark); inside a page,
            the page's own variables hold.

    Raises:
        WeirError: the plan has no nodes.
    """
    if not plan.nodes:
        raise WeirError("nothing to draw: the plan has no nodes")
    plan = plan.reduced()
    nodes = {node.id: node for node in plan.nodes}
    column = _columns(plan)
    order = {section: n for n, section in enumerate(COLOUR_OF)}
    bands = _bands(plan)
    groups = {id_: (bands[id_], order.get(node.section, len(order))) for id_, node in nodes.items()}
    layout = arrange(column, plan.edges, lambda _: BOX + GAP, groups)

    widths = [0.0] * (max(column.values()) + 1)
    heads: list[list[str]] = [[] for _ in widths]
    for id_, node in nodes.items():
        widths[column[id_]] = max(widths[column[id_]], _width(node))
        if node.section not in heads[column[id_]]:
            heads[column[id_]].append(node.section)
    for n, sections in enumerate(heads):
        sections.sort(key=lambda section: order.get(section, len(order)))
        widths[n] = max(widths[n], len(" · ".join(sections)) * LETTER)
    lefts = [MARGIN]
    for width in widths:
        lefts.append(lefts[-1] + width + BETWEEN)
    total = lefts[-1] - BETWEEN + MARGIN
    height = HEADER + layout.extent + MARGIN

    parts = [_head(sections, left) for sections, left in zip(heads, lefts, strict=False)]
    for source, target in plan.edges:
        points = [(lefts[column[source]] + widths[column[source]], layout.heights[source])]
        for at, y in layout.bends[source, target]:
            points += [(lefts[at], y), (lefts[at] + widths[at], y)]
        points.append((lefts[column[target]], layout.heights[target]))
        parts.append(_edge([(x, y + HEADER) for x, y in points], nodes[source], nodes[target]))
    for id_, node in nodes.items():
        x, y = lefts[column[id_]], layout.heights[id_] + HEADER - BOX / 2
        parts.append(_box(node, x, y, widths[column[id_]]))

    count = f"{len(plan.nodes)} nodes"
    # A page that is too narrow scrolls rather than shrink the letters further.
    narrowest = "" if standalone else f' style="min-width: {min(total, 820):.0f}px"'
    style = f"<style>{theme_css('svg')}</style>" if standalone else ""
    paper = f'<rect width="100%" height="100%" fill="{variable("paper")}"/>' if standalone else ""
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" class="dag" viewBox="0 0 {total:.0f} '
        f'{height:.0f}" width="{total:.0f}" height="{height:.0f}"{narrowest} role="img" '
        f'aria-label="Pipeline of {count}" font-family="system-ui, -apple-system, Segoe UI, '
        f'Roboto, Helvetica, Arial, sans-serif" font-size="11.5">'
        f"<title>Pipeline of {count}</title>{style}{paper}{''.join(parts)}</svg>"
    )


def _columns(plan: PlanGraph) -> dict[str, int]:
    """A column for each section if sections follow one another, else one for each depth."""
    section = {node.id: node.section for node in plan.nodes}
    between = sorted(
        {(section[a], section[b]) for a, b in plan.edges},
        key=lambda pair: (list(section.values()).index(pair[0]), pair[1]),
    )
    try:
        depth = depths(dict.fromkeys(section.values()), between)
    except WeirError:
        return depths(section, plan.edges)
    return {id_: depth[name] for id_, name in section.items()}


def _bands(plan: PlanGraph) -> dict[str, int]:
    """A band for each root of the plan (a data set, say); what joins several goes to the first."""
    fed = {target for _, target in plan.edges}
    roots = {node.id: n for n, node in enumerate(n for n in plan.nodes if n.id not in fed)}
    return {
        node.id: min(roots[id_] for id_ in {node.id, *plan.ancestors(node.id)} if id_ in roots)
        for node in plan.nodes
    }


def _badge(node: PlanNode) -> str:
    return f"×{len(node.seeds)}" if len(node.seeds) > 1 else ""


def _width(node: PlanNode) -> float:
    badge = _badge(node)
    return len(node.name) * LETTER + 22 + (len(badge) * LETTER + 8 if badge else 0)


def _head(sections: list[str], x: float) -> str:
    names = f'<tspan fill="{variable("faint")}"> · </tspan>'.join(
        f'<tspan fill="{variable(COLOUR_OF.get(name, "accent"))}">{escape(name)}</tspan>'
        for name in sections
    )
    return f'<text x="{x:.1f}" y="12" font-size="11" font-weight="600">{names}</text>'


def _edge(points: list[tuple[float, float]], source: PlanNode, target: PlanNode) -> str:
    """A smooth line: straight across columns that it skips, curved between columns."""
    path = f"M{points[0][0]:.1f} {points[0][1]:.1f}"
    for n, ((x0, y0), (x1, y1)) in enumerate(pairwise(points)):
        if n % 2:
            path += f"L{x1:.1f} {y1:.1f}"
        else:
            middle = (x0 + x1) / 2
            path += f"C{middle:.1f} {y0:.1f} {middle:.1f} {y1:.1f} {x1:.1f} {y1:.1f}"
    colour = variable(COLOUR_OF.get(source.section, "accent"))
    return (
        f'<path d="{path}" fill="none" stroke="{colour}" stroke-opacity=".45" '
        f'stroke-width="1.3"><title>{escape(source.id)} → {escape(target.id)}</title></path>'
    )


def _box(node: PlanNode, x: float, y: float, width: float) -> str:
    name = COLOUR_OF.get(node.section, "accent")
    assert name in COLOURS
    colour = variable(name)
    seeds = f", seeds {', '.join(map(str, node.seeds))}" if node.seeds else ""
    badge = (
        f'<text x="{x + width - 8:.1f}" y="{y + 16:.1f}" text-anchor="end" '
        f'fill="{variable("soft")}">{_badge(node)}</text>'
        if _badge(node)
        else ""
    )
    return (
        f"<g><title>{escape(node.id + seeds)}</title>"
        f'<rect x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{BOX:g}" rx="5" '
        f'fill="{variable("card")}" stroke="{colour}" stroke-opacity=".55"/>'
        f'<rect x="{x:.1f}" y="{y + 5:.1f}" width="3" height="{BOX - 10:g}" rx="1.5" '
        f'fill="{colour}"/>'
        f'<text x="{x + 11:.1f}" y="{y + 16:.1f}" fill="{variable("ink")}">'
        f"{escape(node.name)}</text>{badge}</g>"
    )
