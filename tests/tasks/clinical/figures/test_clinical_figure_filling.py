"""Figures of what models fill in and make up."""

from __future__ import annotations

import re

import pytest
from clinical_flow import small_flow

from weir.artifacts.evaluation import Evaluation, parse_evaluation
from weir.report.entries import entries
from weir.tasks.clinical.baselines.filling import LastValue
from weir.tasks.clinical.data.load import ClinicalData
from weir.tasks.clinical.evaluation import synthetic as synthetic_quality
from weir.tasks.clinical.evaluation.definitions import DEFINITIONS
from weir.tasks.clinical.evaluation.filling import evaluate_fill
from weir.tasks.clinical.figures.filling import filled_codes, filling
from weir.tasks.clinical.figures.synthetic import synthetic
from weir.tasks.clinical.settings.baseline import Boosting
from weir.tasks.clinical.settings.scoring import ClinicalEvaluate


@pytest.fixture(scope="module")
def made(tiny_clinical: ClinicalData) -> list[Evaluation]:
    """A flow and a baseline, evaluated."""
    flow = small_flow(tiny_clinical)
    last = LastValue(len(tiny_clinical.schema.codes), 8)
    last.fit(tiny_clinical, 0)
    found = []
    for name, kind, model in (("flow", "teacher", flow), ("last", "baseline", last)):
        config = ClinicalEvaluate(model=f"stage2/{name}", samples=4, steps=1)
        parts = [evaluate_fill(model, tiny_clinical, config, seed=0)]
        if kind == "teacher":
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(synthetic_quality, "Boosting", lambda: Boosting(trees=5))
                patch.setattr(synthetic_quality, "TREES", 5)
                parts.append(
                    synthetic_quality.evaluate_synthetic(model, tiny_clinical, config, seed=0)
                )
        metrics = {key: value for part in parts for key, value in part.metrics.items()}
        metrics = {key: value for key, value in metrics.items() if key in DEFINITIONS}
        tables = {name: table for part in parts for name, table in part.tables.items()}
        document = {"node": name, "label": name, "task": "clinical", "dataset": "icu"}
        document |= {"name": name, "seed": 0, "kind": kind, "headline": "fill_crps"}
        document |= {
            "metrics": metrics,
            "definitions": {key: DEFINITIONS[key].document() for key in metrics},
        }
        found.append(parse_evaluation(document, tables))
    return found


def words(svg: str) -> str:
    """Text of a drawing."""
    return " ".join(re.findall(r"<text[^>]*>([^<]*)</text>", svg))


def test_forecasts_are_drawn_for_each_model(made: list[Evaluation]):
    figure = filling(entries(made))
    assert figure is not None
    assert [view.label for view in figure.views] == ["flow", "last"]
    for view in figure.views:
        assert 1 <= len(view.panels) <= 6
        assert all("nan" not in panel.lower() for panel in view.panels)
    titles = [[words(panel) for panel in view.panels] for view in figure.views]
    # The same records and codes for both.
    records = [[re.findall(r"c\d, record \d+", text) for text in texts] for texts in titles]
    assert records[0] == records[1] and all(records[0])


def test_errors_by_code_are_drawn_for_each_use(made: list[Evaluation]):
    figure = filled_codes(entries(made))
    assert figure is not None
    assert [view.label for view in figure.views] == ["forecast", "imputation", "single values"]
    text = words(figure.views[0].panels[0])
    assert "c0" in text and "flow" in text and "last" in text
    assert "c5" not in text  # has no values


def test_synthetic_records_are_drawn(made: list[Evaluation]):
    figure = synthetic(entries(made))
    assert figure is not None
    assert [view.label for view in figure.views] == ["flow"]
    panels = figure.views[0].panels
    assert len(panels) == 3 + 5  # codes c5 to c7 have no values
    assert "Privacy" in words(panels[2])


def test_without_tables_there_is_no_figure(made: list[Evaluation]):
    bare = [
        parse_evaluation(
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
    ]
    assert filling(entries(bare)) is None
    assert filled_codes(entries(bare)) is None
    assert synthetic(entries(bare)) is None
    assert made
