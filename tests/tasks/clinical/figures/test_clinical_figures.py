"""Figures of clinical models: drawn from what evaluations write, left out where they wrote none."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from clinical_models import stage1_model, stage1_settings
from stored import stored

from weir.artifacts.evaluation import Evaluation, Scored, load_evaluation, parse_evaluation
from weir.report.entries import entries
from weir.report.graph.nodes import PlanGraph
from weir.report.page.page import Context, render
from weir.report.tables import averaged
from weir.tasks.clinical.baselines import build
from weir.tasks.clinical.data.load import ClinicalData
from weir.tasks.clinical.evaluation.evaluate import evaluate
from weir.tasks.clinical.figures import figures
from weir.tasks.clinical.figures.subgroups import _lines
from weir.tasks.clinical.settings.baseline import ClinicalBaseline
from weir.tasks.clinical.settings.scoring import ClinicalEvaluate

SETTINGS = {"bootstrap": 20, "bins": 4, "min_positives": 3}
TITLES = [
    "Scores with intervals",
    "What a threshold would do",
    "Observed and predicted risk",
    "Scores of subgroups",
    "The latents",
    "Reconstruction by code",
    "Watch over the latents",
    "Parts of the loss",
]


def history(collapsed_from: int = 1000) -> pd.DataFrame:
    """A training whose latents die at some step."""
    step = np.arange(0, 400, 10)
    alive = np.where(step < collapsed_from, 1.0, 0.0)
    columns = {"active_units": alive, "mutual_information": 3 * alive, "kl": 4 * alive + 0.1}
    columns |= {"prior_gap": 0.1 + 0 * step, "reconstruction_gain": 2 * alive, "nll": 9 - alive}
    columns |= {"beta": step / 4000, "collapsed": 1 - alive, "nll_values": 5 - alive}
    found = {f"train/{name}": values for name, values in columns.items()}
    found["validation/auroc"] = 0.5 + step / 2000
    return pd.DataFrame({"step": step, **found})


def read_back(scored: Scored, output: Path, node: str, kind: str, **change: Any) -> Evaluation:
    about = {"node": node, "label": node, "task": "clinical", "dataset": "icu", "kind": kind}
    stored(scored, output, **about | change)
    found = load_evaluation(output / "details")
    return (
        replace(found, tables={**found.tables, "losses": history()}) if kind == "stage1" else found
    )


@pytest.fixture(scope="module")
def made(tiny_clinical: ClinicalData, tmp_path_factory: pytest.TempPathFactory):
    """An autoencoder with a head, in two splits, and two baselines."""
    found = []
    logistic = build(ClinicalBaseline(method="logistic", dataset="tiny"), tiny_clinical.schema)
    rate = build(ClinicalBaseline(method="mean_rate", dataset="tiny"), tiny_clinical.schema)
    for model in (logistic, rate):
        model.fit(tiny_clinical, 0)
    models = {
        "sets": ("stage1", stage1_model(tiny_clinical, stage1_settings())),
        "logistic": ("baseline", logistic),
        "rate": ("baseline", rate),
    }
    for node, (kind, model) in models.items():
        for fold in ("a", "b"):
            ref = f"{kind}/{node}"
            config = ClinicalEvaluate(
                model=ref, split="test" if fold == "a" else "validation", **SETTINGS
            )
            result = evaluate(model.eval(), tiny_clinical, config, seed=0, label="it")
            name = {"name": f"{node}-{fold}", "fold": fold}
            found.append(read_back(result, tmp_path_factory.mktemp("run"), node, kind, **name))
    return found


def words(svg: str) -> str:
    """Text of a drawing."""
    return " ".join(re.findall(r"<text[^>]*>([^<]*)</text>", svg))


def test_every_figure_is_drawn(made: list[Evaluation]) -> None:
    drawn = figures.figures(made)
    assert [figure.title for figure in drawn] == TITLES
    for figure in drawn:
        for view in figure.views:
            assert view.panels
            for panel in view.panels:
                assert panel.startswith("<svg") and len(panel) < 120_000
                assert "nan" not in panel.lower()
    by_title = {figure.title: figure for figure in drawn}
    assert [view.label for view in by_title["What a threshold would do"].views] == [
        "ROC",
        "Precision and recall",
    ]
    forest = by_title["Scores of subgroups"].views[0].panels[0]
    assert "all records" in words(forest) and "sex: F" in words(forest)
    assert "too few" in words(forest)
    assert len(by_title["Observed and predicted risk"].views[0].panels) == 3


def test_intervals_are_those_of_the_tables(made: list[Evaluation]) -> None:
    """Averaged over the two splits; best first."""
    figure = figures.intervals(entries(made))
    assert figure is not None
    panel = figure.views[0].panels[0]
    row = next(row for row in entries(made) if row.node == "logistic")
    lines = [run.tables["scores"].set_index("metric").loc["auroc"] for run in row.runs]
    low, high = (sum(line[side] for line in lines) / 2 for side in ("low", "high"))
    assert f"({low:.3f} to {high:.3f})" in panel
    assert panel.index("logistic") < panel.index("rate 0.500")


def test_nothing_recorded_draws_nothing() -> None:
    bare = parse_evaluation(
        {
            "name": "a",
            "node": "a",
            "task": "clinical",
            "dataset": "icu",
            "kind": "baseline",
            "metrics": {},
            "definitions": {},
        }
    )
    assert figures.figures([bare]) == []


def test_the_page_holds_them_all(made: list[Evaluation]) -> None:
    plan = PlanGraph.of({"nodes": [], "edges": []})
    page = render(made, plan, "ICU", Context(tasks={"clinical": figures}))
    assert all(f"<h4>{title}</h4>" in page for title in TITLES)
    assert "ranked by AUROC" in page and "do not share one protocol" not in page


def test_collapse_is_told(made: list[Evaluation]) -> None:
    row = next(row for row in entries(made) if row.node == "sets")
    well = figures.monitor([row])
    assert well is not None and well.views[0].label == "sets: no collapse"
    for run in row.runs:
        run.tables["losses"] = history(200)
    ill = figures.monitor([row])
    assert ill is not None and ill.views[0].label == "sets: collapsed"
    assert "collapsed from step 200 on" in ill.views[0].panels[0]
    for run in row.runs:
        run.tables["losses"] = history()


def test_sizes_of_groups_add_up_over_splits(
    made: list[Evaluation], tiny_clinical: ClinicalData
) -> None:
    row = next(row for row in entries(made) if row.node == "sets")
    lines = {(line.subgrouping, line.group): line for line in _lines(row)}
    both = [tiny_clinical.split("test"), tiny_clinical.split("validation")]
    whole = lines["all records", "all records"]
    assert whole.records == sum(map(len, both))
    assert whole.positives == sum(int(part.outcome.sum()) for part in both)


def test_an_average_is_of_all_runs(made: list[Evaluation]) -> None:
    row = next(row for row in entries(made) if row.node == "logistic")
    table = averaged(row, "scores", ["metric"], ["value"]).set_index("metric")["value"]
    each = [run.tables["scores"].set_index("metric")["value"] for run in row.runs]
    assert table["auroc"] == pytest.approx((each[0]["auroc"] + each[1]["auroc"]) / 2)
    lacking = row.runs[0].tables["scores"].copy()
    row.runs[0].tables["scores"] = lacking.assign(
        value=lacking["value"].where(lacking["metric"] != "auroc")
    )
    table = averaged(row, "scores", ["metric"], ["value"]).set_index("metric")["value"]
    assert np.isnan(table["auroc"]) and np.isfinite(table["brier"])
    row.runs[0].tables["scores"] = lacking
