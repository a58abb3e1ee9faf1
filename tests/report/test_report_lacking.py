"""Models that lack some metrics, in all runs or in one: nothing fails, nothing is made up."""

from __future__ import annotations

import math
import re
from dataclasses import replace
from typing import Any

import pytest
import synthetic

from weir.artifacts.evaluation import Evaluation
from weir.report.drawing import curves
from weir.report.entries import Entry, definitions, entries
from weir.report.page.cards import against_baselines, cards
from weir.report.page.scores import scores
from weir.report.page.table import results_table

METRICS = ("crps", "mse")


def run(node: str, seed: int, curve: list[dict[str, Any]] | None = None, **metrics: float | None):
    return synthetic.evaluation(node, seed, metrics=metrics, quality_curve=curve or [])


def point(steps: int, **numbers: float | None) -> dict[str, Any]:
    return {"steps": steps, "nfe": steps, "seconds": 0.1 * steps, **numbers}


def drawn(*runs: Evaluation) -> dict[str, str]:
    """Words of the drawings of quality against cost, by metric."""
    figure = curves.quality(entries(runs), METRICS)
    views = figure.views if figure else ()
    found = {view.label: re.findall('aria-label="([^"]*)"', "".join(view.panels)) for view in views}
    return {label: " | ".join(words) for label, words in found.items()}


def test_a_curve_that_one_seed_lacks_is_not_drawn() -> None:
    runs = [
        run("flow", 0, [point(1, crps=0.3, mse=0.2)], crps=0.3, mse=0.2),
        run("flow", 1, [point(1, crps=0.3)], crps=0.3),
    ]
    assert list(drawn(*runs)) == ["CRPS"]


def test_of_a_kind_the_best_that_has_a_curve_is_drawn() -> None:
    """A flow that is sampled in one way only is no reason to hide how another one's steps pay."""
    runs = [
        run("flow", 0, crps=0.2),
        replace(
            run("flow", 1, [point(1, crps=0.5), point(4, crps=0.3)], crps=0.3),
            node="stepped",
            label="Stepped flow",
        ),
    ]
    assert "Stepped flow" in drawn(*runs)["CRPS"]


def test_times_are_drawn_of_those_that_have_them() -> None:
    untimed = {"steps": 1, "nfe": 1, "crps": 0.3}
    runs = [
        run("flow", 0, [untimed], crps=0.3),
        run("joint", 0, [point(1, crps=0.3)], crps=0.3),
    ]
    by_calls, by_time = drawn(*runs)["CRPS"].split(" | ")
    assert "Residual flow" in by_calls and "Residual flow" not in by_time


def three() -> list[Entry]:
    """A flow with both scores, a joint model without the second, a baseline with both."""
    return entries(
        [
            run("flow", 0, crps=0.3, mse=0.4),
            run("joint", 0, crps=0.28),
            run("dlinear", 0, crps=0.35, mse=0.38),
        ]
    )


def test_a_table_has_a_dash_where_there_is_no_number_and_still_a_winner() -> None:
    rows = three()
    table = results_table(rows, METRICS, definitions(rows), "crps")
    lines = {row.node: row.cells for row in table.rows}
    by_kind = {row.kind: lines[row.node] for row in rows}
    assert by_kind["joint"][1].text == "–" and by_kind["joint"][1].order == ""
    assert by_kind["joint"][0].best and by_kind["baseline"][1].best
    assert table.rows[0].kind == "joint"


def test_a_verdict_speaks_of_shared_scores_only() -> None:
    rows = three()
    said = {v.label: v for v in against_baselines(rows, METRICS, definitions(rows))}
    flow, joint = (
        next(row.label for row in rows if row.kind == kind) for kind in ("teacher", "joint")
    )
    assert said[joint].outcome == "win" and "MSE" not in said[joint].text
    assert said[flow].outcome == "win" and "behind" in said[flow].text and "MSE" in said[flow].text


def test_glances_cards_and_scores_leave_out_what_is_lacking() -> None:
    rows = three()
    known = definitions(rows)
    figure = curves.glance(rows, METRICS)
    assert figure is not None
    joint = next(row for row in rows if row.kind == "joint")
    both, one = ("".join(view.panels) for view in figure.views)
    assert joint.label in both and joint.label not in one
    assert cards(rows, METRICS, known, synthetic.plan())[0].note.startswith(joint.label)
    document = scores(
        [each for row in rows for each in row.runs],
        "p",
        command="",
        commit="",
        hardware="",
        wall_s=1,
    )
    model = next(each for each in document["models"] if each["name"] == joint.node)
    assert set(model["metrics"]) == {"crps"}


def test_a_ranking_score_that_models_lack_decides_nothing() -> None:
    rows = entries([run("flow", 0, mse=0.4), run("dlinear", 0, crps=0.35, mse=0.5)])
    known = definitions(rows)
    (verdict,) = against_baselines(rows, METRICS, known)
    assert verdict.outcome == "win" and "behind no baseline" in verdict.text
    assert cards(rows, METRICS, known, synthetic.plan()) == []
    table = results_table(rows, METRICS, known, "crps")
    assert [row.kind for row in table.rows] == ["baseline", "teacher"]
    assert math.isnan(rows[0].statistic("crps").mean)


def test_a_hopeless_row_does_not_squeeze_the_others() -> None:
    def ranked(**scores: float) -> list[Entry]:
        rows = entries(run(node, 0, crps=score) for node, score in scores.items())
        return sorted(rows, key=lambda row: row.statistic("crps").mean)

    near = {"flow": 0.20, "joint": 0.22, "direct": 0.24, "onestep": 0.26}
    rows = ranked(**near, dlinear=900.0)
    crps = definitions(rows)["crps"]
    assert curves.edge(rows, "crps", crps) == pytest.approx(0.2 + 4 * 0.06)
    figure = curves.glance(rows, ("crps",))
    assert figure is not None
    panel = figure.views[0].panels[0]
    assert ">900<" in panel
    ticks = re.findall(r">(\d\.\d+)<", panel)
    assert max(map(float, ticks)) < 0.5
    # One that is merely worse than the others is drawn where it is; three rows tell no rule.
    assert curves.edge(ranked(**near, dlinear=0.4), "crps", crps) is None
    assert curves.edge(ranked(flow=0.2, joint=0.21, dlinear=9.0), "crps", crps) is None
    high = replace(crps, better="higher")
    assert curves.edge(rows[::-1], "crps", high) is None
