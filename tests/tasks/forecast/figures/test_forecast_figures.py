"""Figures of a forecast are drawn from the tables that are there, and from no others."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from typing import Any
from xml.etree import ElementTree

import pandas as pd
import pytest

from weir.artifacts.evaluation import Evaluation, parse_evaluation
from weir.report.drawing.figure import Figure
from weir.report.drawing.numbers import THIN
from weir.report.entries import entries
from weir.report.tables import averaged
from weir.tasks.forecast.figures.fans import FANS, spread_out
from weir.tasks.forecast.figures.figures import figures

DEFINITION = {"label": "CRPS", "definition": "", "scale": "", "better": "lower"}


def fans(windows: int = 2) -> pd.DataFrame:
    """Eight steps of history and of future in each window."""
    parts = []
    for window in range(windows):
        future = [step > 0 for step in range(-7, 9)]
        table = pd.DataFrame(
            {
                "window": window,
                "variable": "OT",
                "step": range(-7, 9),
                "kind": ["future" if later else "history" for later in future],
                "truth": [0.1 * step for step in range(16)],
            }
        )
        for n, name in enumerate(("q05", "q25", "q50", "q75", "q95", "p0", "p1")):
            table[name] = [n - 2.0 if later else None for later in future]
        parts.append(table.astype({"q05": float, "p0": float}))
    return pd.concat(parts)


def tables() -> dict[str, pd.DataFrame]:
    nominal = [0.1, 0.5, 0.9]
    starts = range(100)
    return {
        "windows": pd.DataFrame({"start": starts, "crps": [0.3 + 0.001 * (n % 7) for n in starts]}),
        "fans": fans(),
        "pit": pd.DataFrame({"bin": range(4), "share": [0.25] * 4}),
        "reliability": pd.DataFrame({"nominal": nominal, "observed": nominal}),
        "horizon": pd.DataFrame({"step": range(1, 9), "crps": [0.1 * n for n in range(8)]}),
    }


def evaluation(
    node: str = "flow",
    kind: str = "teacher",
    seed: int = 0,
    crps: float = 0.3,
    made: dict[str, pd.DataFrame] | None = None,
) -> Evaluation:
    document: dict[str, Any] = {
        "name": f"{node}-s{seed}",
        "node": node,
        "seed": seed,
        "task": "forecast",
        "dataset": "toy",
        "kind": kind,
        "label": f"{node} $^{{<b>",
        "metrics": {"crps": crps},
        "definitions": {"crps": DEFINITION},
    }
    return parse_evaluation(document, tables() if made is None else made)


def by_title(found: list[Figure]) -> dict[str, Figure]:
    return {figure.title: figure for figure in found}


def test_every_table_has_its_figure_and_every_panel_is_well_formed() -> None:
    found = figures([evaluation(), evaluation("naive", "baseline", crps=0.5)])
    assert [figure.section for figure in found] == [
        "Results",
        "Forecasts",
        "Calibration",
        "Calibration",
        "Horizon",
    ]
    for figure in found:
        for view in figure.views:
            for panel in view.panels:
                root = ElementTree.fromstring(panel)
                assert root.get("aria-label")


@pytest.mark.parametrize("absent", ["windows", "fans", "pit", "reliability", "horizon"])
def test_an_absent_table_takes_only_its_own_figure_away(absent: str) -> None:
    made = tables()
    del made[absent]
    rival = evaluation("naive", "baseline", made=made)
    assert len(figures([evaluation(made=made), rival])) == 4


def test_the_best_model_of_each_kind_gets_a_tab_of_fans() -> None:
    found = figures(
        [
            evaluation("worse", "teacher", crps=0.4),
            evaluation("better", "teacher", crps=0.3),
            evaluation("fast", "student", crps=0.31),
            evaluation("truth", "ceiling", crps=0.1),
        ]
    )
    labels = [view.label.split()[0] for view in found[0].views]
    assert labels == ["fast", "better"]


def test_windows_and_variables_take_turns() -> None:
    keys = [(window, name) for window in range(20) for name in ("HUFL", "MUFL", "OT")]
    kept = spread_out(keys)
    assert len(kept) == FANS
    windows = [window for window, _ in kept]
    assert {b - a for a, b in pairwise(windows)} <= {3, 4}
    assert len({name for _, name in kept}) > 1
    few = spread_out(keys[:6])
    assert len(few) == 6 and len(set(few)) == 6
    assert spread_out([(0, "OT"), (1, "OT")]) == [(0, "OT"), (1, "OT")]


def test_a_point_forecast_has_no_histogram_of_ranks() -> None:
    point = evaluation("point", "stage1")
    point = replace(point, metrics={"crps": 0.4, "coverage_90": 0.0})
    panels = by_title(figures([evaluation(), point]))["Where the truth falls (PIT)"].views[0]
    assert len(panels.panels) == 1


def test_calibration_is_averaged_over_seeds() -> None:
    made = tables()
    made["pit"] = pd.DataFrame({"bin": range(4), "share": [0.75, 0.25, 0.0, 0.0]})
    row = entries([evaluation(seed=0), evaluation(seed=1, made=made)])[0]
    mean = averaged(row, "pit", ["bin"], ["share"], sort=True)
    assert mean["share"].tolist() == [0.5, 0.25, 0.125, 0.125]


def test_parts_of_the_horizon_are_named_in_order() -> None:
    made = tables()
    nominal = [0.25, 0.5, 0.75]
    made["reliability"] = pd.concat(
        pd.DataFrame({"horizon": label, "nominal": nominal, "observed": nominal})
        for label in ("25-96", "1-24", "97-192")
    )
    panel = by_title(figures([evaluation(made=made)]))["Promised and observed coverage"]
    text = "".join(ElementTree.fromstring(panel.views[0].panels[0]).itertext())
    assert text.index("steps 1-24") < text.index("steps 25-96") < text.index("steps 97-192")


def test_without_scores_there_is_nothing_to_draw() -> None:
    assert figures([]) == []


def test_drawing_is_deterministic() -> None:
    assert figures([evaluation()]) == figures([evaluation()])


def shifted(by: float, start: int = 0) -> dict[str, pd.DataFrame]:
    made = tables()
    made["windows"]["start"] += start
    made["windows"]["crps"] += by
    return made


def test_models_are_paired_with_the_best_baseline_window_by_window() -> None:
    found = figures(
        [
            evaluation("good", made=shifted(-0.03)),
            evaluation("same", "joint", made=shifted(0.0)),
            evaluation("bad", "student", made=shifted(0.03)),
            evaluation("naive", "baseline", crps=0.3),
            evaluation("poor", "baseline", crps=0.5),
        ]
    )[0]
    assert found.title.startswith("Against naive")
    words = ElementTree.fromstring(found.views[0].panels[0]).get("aria-label") or ""
    assert words.index("good") < words.index("same") < words.index("bad")
    assert f"good $^{{<b> −9.9{THIN}%" in words and f"bad $^{{<b> +9.9{THIN}%" in words


def test_other_windows_are_not_paired() -> None:
    found = figures([evaluation(made=shifted(0.0, start=5)), evaluation("naive", "baseline")])
    assert all(figure.section != "Results" for figure in found)
