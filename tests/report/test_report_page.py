"""The page: whole, self-contained, stable, escaped, and light enough to send by mail."""

from __future__ import annotations

import math
import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest
import synthetic

from weir.artifacts.evaluation import Evaluation
from weir.report.drawing.figure import Figure
from weir.report.graph.nodes import PlanGraph
from weir.report.page.page import Context, render
from weir.tasks.forecast.figures import figures

CONTEXT = Context(
    command="weir report etth1",
    commit="3f2a9c1d7be0aa11",
    hardware="2 CPU cores",
    wall_s=754.0,
    reproduce=("git checkout 3f2a9c1d7be0", "dvc repro"),
    tasks={"forecast": figures},
)
VOID = {"meta", "br", "hr", "img", "input", "link", "wbr"}


class Structure(HTMLParser):
    """Collects ids and links, and notes tags that are closed out of turn."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.ids: list[str] = []
        self.links: list[str] = []
        self.tags: list[str] = []
        self.text = ""
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        if tag not in VOID:
            self.open.append(tag)
        self.ids += [value or "" for name, value in attrs if name == "id"]
        self.links += [value or "" for name, value in attrs if name in ("href", "src")]

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.handle_endtag(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open and self.open.pop() == tag, f"</{tag}> closes something else"

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] not in ("style", "script"):
            self.text += data + " "


@pytest.fixture(scope="module")
def made() -> list[Evaluation]:
    return synthetic.evaluations()


@pytest.fixture(scope="module")
def page(made: list[Evaluation]) -> str:
    return render(made, synthetic.plan(), "Quickstart", CONTEXT)


def test_the_page_is_well_nested_and_every_link_leads_somewhere(page: str) -> None:
    found = Structure(page)
    assert found.open == []
    assert page.startswith("<!DOCTYPE html>")
    assert len(found.ids) == len(set(found.ids))
    assert all(link.startswith("#") for link in found.links), "the page needs nothing from outside"
    assert {link[1:] for link in found.links} <= set(found.ids)


def test_the_page_loads_nothing(page: str) -> None:
    assert not re.search(r"https?://(?!www\.w3\.org/)", page)
    assert "@import" not in page


def test_the_page_is_light(page: str) -> None:
    assert len(page.encode()) < 1_500_000


def test_the_same_input_in_any_order_gives_the_same_bytes() -> None:
    runs = [synthetic.evaluation(node, seed) for node in ("flow", "itrans") for seed in (0, 1)]
    first = render(runs, synthetic.plan(), "Page", CONTEXT)
    assert render(runs[::-1], synthetic.plan(), "Page", CONTEXT) == first


def test_losing_is_said_in_words(page: str) -> None:
    text = " ".join(Structure(page).text.split())
    assert "Joint training loses to Student-t head in CRPS" in text
    assert "Residual flow beats every baseline in CRPS" in text


def test_the_protocol_and_every_definition_are_printed(page: str) -> None:
    text = " ".join(Structure(page).text.split())
    assert "windows 2785 samples 100 scale standardised" in text
    assert "mean ± standard deviation" in text
    for definition in synthetic.DEFINITIONS.values():
        assert definition["definition"] in text
    assert "weir report etth1" in text and "dvc repro" in text
    assert "training.steps 4000" in text


def test_sections_of_the_task_stand_on_the_page(page: str) -> None:
    for heading in ("Results", "Forecasts", "Calibration", "Horizon", "Cost", "Training"):
        assert f">{heading}</h3>" in page


def test_missing_numbers_are_dashes_and_never_nan(page: str) -> None:
    found = Structure(page)
    assert not re.search(r"\bnan\b|\binf\b|\bNone\b", found.text, re.IGNORECASE)
    assert 'title="not measured">–</span>' in page


HOSTILE = '<script>alert("x")</script>&\'</style>'


def test_hostile_words_stay_words() -> None:
    runs = [
        synthetic.evaluation(
            node,
            0,
            label=HOSTILE + node,
            dataset=HOSTILE,
            protocol={HOSTILE: HOSTILE},
            lineage={HOSTILE: {HOSTILE: HOSTILE}},
            provenance={HOSTILE: HOSTILE, "run": {HOSTILE: node}},
            definitions={
                metric: definition
                | {"label": HOSTILE + metric, "definition": HOSTILE, "scale": HOSTILE}
                for metric, definition in synthetic.DEFINITIONS.items()
            },
        )
        for node in ("onestep", "studentt")
    ]
    plan = PlanGraph.of(
        {"nodes": [{"id": "a", "section": HOSTILE, "name": HOSTILE, "seed": 0}], "edges": []}
    )
    context = Context(HOSTILE, HOSTILE, HOSTILE, 1.0, (HOSTILE,), {"forecast": figures})
    found = Structure(render(runs, plan, HOSTILE, context))
    assert found.tags.count("script") == 1
    assert found.tags.count("style") == 1
    assert found.open == []


def test_a_task_without_figures_has_its_tables_all_the_same() -> None:
    runs = [synthetic.evaluation(node, 0, task="unheard-of") for node in ("itrans", "dlinear")]
    text = " ".join(Structure(render(runs, synthetic.plan(), "Page", Context())).text.split())
    assert "unheard-of" in text
    assert "1, so no spread is known" in text
    assert "Scores at a glance" in text


def test_warnings_for_unequal_protocols_and_absent_baselines() -> None:
    runs = [
        synthetic.evaluation("flow", 0),
        synthetic.evaluation("joint", 0, protocol={"split": "test", "windows": 100}),
    ]
    text = render(runs, synthetic.plan(), "Page", Context())
    assert "No baseline was evaluated" in text
    assert "differ in windows, samples, scale" in text


def test_several_data_sets_have_a_part_each() -> None:
    runs = [synthetic.evaluation("dlinear", 0, data) for data in ("weather", "etth1")]
    found = Structure(render(runs, synthetic.plan(), "Page", Context()))
    assert {"data-1-etth1", "data-2-weather"} <= set(found.ids)


def test_nothing_evaluated_is_said() -> None:
    found = Structure(render([], PlanGraph((), ()), "Empty", Context()))
    assert "No evaluation is part of this report." in found.text


def test_a_model_whose_scores_all_failed_is_still_listed() -> None:
    nothing = dict.fromkeys(synthetic.DEFINITIONS, math.nan)
    runs = [synthetic.evaluation("flow", 0, metrics=nothing), synthetic.evaluation("naive", None)]
    text = Structure(render(runs, synthetic.plan(), "Page", Context())).text
    assert "has no number that a baseline has too" in text


class Plain:
    """A task that names its main scores and draws nothing."""

    HEADLINE = ("crps", "mse")

    @staticmethod
    def figures(evaluations: object) -> list[Figure]:
        return []


PLAIN = Context(tasks={"forecast": Plain})


def encoder(**change: object) -> Evaluation:
    """Stage 1 of a task whose headline scores do not apply to it."""
    known = {"auc": {"label": "batch AUC", "definition": "Of z.", "better": 0.5}}
    return synthetic.evaluation(
        "itrans", 0, metrics={"auc": 0.61}, definitions=known, label="Encoder", **change
    )


def test_an_encoder_with_scores_of_its_own_is_not_ranked() -> None:
    runs = [synthetic.evaluation(node, 0) for node in ("flow", "studentt")]
    page = render([*runs, encoder(protocol={})], synthetic.plan(), "Page", PLAIN)
    main, apart = re.findall(r'<table class="results.*?</table>', page, re.DOTALL)[:2]
    assert "Residual flow" in main and "Encoder" not in main
    assert "Encoder" in apart and "0.61" in apart and "Residual flow" not in apart
    assert "do not share one protocol" not in page
    assert "has no number that a baseline has too" not in page


def test_encoders_alone_have_their_table() -> None:
    text = Structure(render([encoder()], synthetic.plan(), "Page", PLAIN)).text
    assert "Encoder" in text and "0.61" in text


def test_tasks_that_differ_in_what_a_name_means_are_told_apart() -> None:
    other = {
        name: value | ({"definition": "Of something else."} if name == "mse" else {})
        for name, value in synthetic.DEFINITIONS.items()
    }
    runs = [
        synthetic.evaluation("flow", 0),
        synthetic.evaluation("joint", 0, "cells", "unheard-of", definitions=other),
    ]
    text = " ".join(Structure(render(runs, synthetic.plan(), "Page", Context())).text.split())
    assert "Of something else." in text and synthetic.DEFINITIONS["mse"]["definition"] in text
    assert "mse in forecast" in text and "mse in unheard-of" in text
    assert "mae in forecast" not in text


def test_a_score_that_should_be_high_is_read_the_right_way_round() -> None:
    known = {"r": {"label": "Pearson delta", "definition": "", "better": "higher"}}
    scores = {"flow": 0.9, "onestep": 0.88, "studentt": 0.8, "oracle": 1.0}
    runs = [
        synthetic.evaluation(node, 0, metrics={"r": value}, definitions=known, quality_curve=[])
        for node, value in scores.items()
    ]
    text = " ".join(Structure(render(runs, synthetic.plan(), "Page", Context())).text.split())
    assert "Residual flow beats every baseline in Pearson delta" in text
    assert "12.5 % better" in text
    assert "10.0 % below Oracle" in text
    assert "Cost of distilling −2.2 %" in text
    assert "(higher is better)" in text


def test_held_out_groups_differ_in_their_items_only() -> None:
    def run(node: str, fold: str, **protocol: object) -> Evaluation:
        settings = {"split": "test", "fold": fold, "cells": 100 if fold == "NK" else 23} | protocol
        name = f"etth1-{node}-{fold}"
        made = synthetic.evaluation(node, 0, protocol=settings, name=name)
        return replace(made, fold=fold, tables={}, quality_curve=())

    def page(*runs: Evaluation) -> str:
        text = Structure(render(runs, synthetic.plan(), "Page", PLAIN)).text
        return " ".join(text.split())

    folds = ("NK", "B")
    alike = [run(node, fold) for node in ("flow", "studentt") for fold in folds]
    text = page(*alike)
    assert "do not share one protocol" not in text
    assert "split test cells 123 in all" in text and "1 seed × 2 groups" in text
    assert "they differ in held-out groups" in page(*alike[:3])
    estimands = [replace(r, protocol={**r.protocol, "estimand": r.kind}) for r in alike]
    text = page(*estimands)
    assert "do not share one protocol" not in text and "teacher, 1 seed × 2 groups" in text
    fewer = [*alike[:3], run("studentt", "B", cells=9)]
    assert "they differ in cells" in page(*fewer)
