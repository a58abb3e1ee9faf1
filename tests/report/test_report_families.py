"""Families: a table for each thing that models of one data set can do."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any, ClassVar

import pytest

from weir.artifacts.evaluation import KINDS, Cost, Evaluation, parse_evaluation
from weir.report.drawing.figure import Figure
from weir.report.drawing.theme import COLOURS
from weir.report.entries import definitions, entries
from weir.report.graph.nodes import PlanGraph
from weir.report.page.page import Context, Family, _families, render

WORDS = {"definition": "what it is", "scale": "share", "better": "higher"}
DEFINITIONS = {
    "auroc": {"label": "AUROC", **WORDS},
    "crps": {"label": "CRPS", **WORDS, "better": "lower"},
    "rmse": {"label": "RMSE", **WORDS, "better": "lower"},
    "kl": {"label": "KL", **WORDS, "better": "lower"},
}


class View:
    """A task whose models do two things."""

    HEADLINE = ("auroc",)
    FAMILIES: ClassVar = {"Risk": ("auroc",), "Filling in": ("crps", "rmse")}

    @staticmethod
    def figures(evaluations: Any) -> list[Figure]:
        return []


class Single(View):
    FAMILIES: ClassVar = {}


def run(node: str, kind: str, protocol: dict[str, Any] | None = None, **metrics: float | None):
    """An evaluation; null for a number that failed."""
    return parse_evaluation(
        {
            "name": node,
            "node": node,
            "label": f"Model {node}",
            "seed": 0,
            "task": "clinical",
            "dataset": "icu",
            "kind": kind,
            "metrics": metrics,
            "definitions": {name: DEFINITIONS[name] for name in metrics},
            "protocol": protocol or {"records": 10},
        }
    )


def families(view: Any, *runs: Evaluation) -> list[tuple[str, tuple[str, ...], list[str]]]:
    rows = entries(runs)
    found: list[Family] = _families(view, rows, definitions(rows))
    return [(each.name, each.metrics, sorted(row.node for row in each.rows)) for each in found]


def test_a_model_stands_where_it_has_a_number() -> None:
    runs = [
        run("both", "joint", auroc=0.8, crps=0.3, rmse=0.4),
        run("head", "head", auroc=0.9),
        run("flow", "teacher", crps=0.2),
        run("vae", "stage1", kl=3.0),
        run("failed", "teacher", auroc=None),
    ]
    assert families(View, *runs) == [
        ("Risk", ("auroc",), ["both", "failed", "head"]),
        ("Filling in", ("crps", "rmse"), ["both", "flow"]),
    ]


def test_each_family_has_its_own_protocol_and_cost() -> None:
    runs = [
        run("both", "joint", auroc=0.8, crps=0.3),
        run("head", "head", auroc=0.9),
        run("flow", "teacher", {"bins": 8}, crps=0.2),
    ]
    own = {
        "Risk": Cost({"records": 10}, nfe=1, latency_ms=2.0, seconds=1.0),
        "Filling in": Cost({"bins": 8}, nfe=4, latency_ms=6.0, seconds=3.0),
    }
    runs[0] = replace(runs[0], families=own)
    rows = entries(runs)
    risk, fill = _families(View, rows, definitions(rows))
    for family, nfe, cost in ((risk, 1, 2.0), (fill, 4, 6.0)):
        both = next(row for row in family.rows if row.node == "both")
        assert (both.nfe, both.latency_ms) == (nfe, cost)
    plan = PlanGraph.of({"nodes": [], "edges": []})
    page = render(runs, plan, "Two things", Context(tasks={"clinical": View}))
    assert "do not share one protocol" not in page


def test_one_family_needs_no_heading() -> None:
    risk = [run("head", "head", auroc=0.9), run("vae", "stage1", kl=3.0)]
    assert families(View, *risk) == [("", ("auroc",), ["head"])]
    fill = [run("flow", "teacher", crps=0.2), run("lost", "student", kl=None)]
    assert families(View, *fill) == [("", ("crps",), ["flow", "lost"])]
    assert families(Single, *risk) == [("", ("auroc",), ["head"])]


def test_encoders_alone_are_ranked_by_what_there_is() -> None:
    assert families(View, run("vae", "stage1", kl=3.0)) == [("", ("kl",), ["vae"])]
    assert families(None, run("vae", "stage1", kl=3.0)) == [("", ("kl",), ["vae"])]
    assert families(View, run("none", "stage1")) == []
    # One whose head failed is no encoder without a head.
    assert families(View, run("vae", "stage1", auroc=None)) == [("", ("auroc",), ["vae"])]


@pytest.fixture(scope="module")
def page() -> str:
    runs = [
        run("head", "head", auroc=0.9),
        run("trees", "baseline", auroc=0.8),
        run("stack", "ensemble", auroc=0.95),
        run("flow", "teacher", {"records": 10, "bins": 24}, crps=0.2, rmse=0.5),
        run("student", "student", {"records": 10, "bins": 12}, crps=0.3, rmse=0.6),
        run("vae", "stage1", kl=3.0),
    ]
    return render(
        runs,
        PlanGraph.of({"nodes": [], "edges": []}),
        "Two things",
        Context(tasks={"clinical": View}),
    )


def test_each_family_has_its_table_verdicts_and_warnings(page: str) -> None:
    tables = re.findall(r"<caption>([^<]*)</caption>\n(.*?)</table>", page, re.DOTALL)
    bodies = {caption: body for caption, body in tables if "icu" in caption}
    risk, fill, apart = bodies.values()
    assert list(bodies)[:2] == [
        "Results on icu (risk), ranked by AUROC",
        "Results on icu (filling in), ranked by CRPS",
    ]
    for body, inside in (
        (risk, {"head", "trees", "stack"}),
        (fill, {"flow", "student"}),
        (apart, {"vae"}),
    ):
        named = ("head", "trees", "stack", "flow", "student", "vae")
        assert {name for name in named if f"Model {name}" in body} == inside
    assert page.count("No baseline was evaluated on this data set for this") == 1
    # The two flows differ in their bins; that the others have none is no difference.
    assert page.count("do not share one protocol; they differ in bins,") == 1
    assert "Model stack</strong> beats every baseline in AUROC" in page
    assert "Model flow</strong>" not in page
    assert page.count("Scores at a glance: risk") == page.count("glance: filling in") == 1


def test_every_kind_has_its_colour_and_chip(page: str) -> None:
    assert set(KINDS) <= set(COLOURS)
    lights, darks = zip(*COLOURS.values(), strict=True)
    assert len(set(lights)) == len(lights) and len(set(darks)) == len(darks)
    assert all(f".chip.k-{kind} " in page for kind in KINDS)


@pytest.mark.parametrize(("models", "folded"), [(8, None), (9, "1 further model "), (12, "4 ")])
def test_lines_of_many_models_unfold(models: int, folded: str | None) -> None:
    """Each stands on the page once, the best ones in the open."""
    runs = [run(f"net{n:02d}", "head", auroc=0.9 - n / 100) for n in range(models)]
    text = render(
        [*runs, run("trees", "baseline", auroc=0.5)],
        PlanGraph.of({"nodes": [], "edges": []}),
        "Many",
        Context(tasks={"clinical": View}),
    )
    lines = re.findall(r'<li class="win"><strong>Model (net\d+)</strong>', text)
    assert lines == [f"net{n:02d}" for n in range(models)]
    if folded is None:
        assert "against the baselines</summary>" not in text
    else:
        at = text.index(f"<summary>{folded}")
        assert text.index("net07</strong>") < at < text.index("net08</strong>")
