"""The table of scores shows the evaluations, their scores and the settings that differ."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mlflow.tracking import MlflowClient

from weir.tracking.run import open_stage
from weir.tracking.shipper import sync
from weir.tracking.views import TAG, differing

ROWS = st.lists(st.dictionaries(st.sampled_from("abc"), st.sampled_from("12")), max_size=4)


@given(ROWS)
def test_a_setting_is_left_out_if_and_only_if_all_agree(rows: list[dict[str, str]]) -> None:
    shown = differing(rows)
    for name in "abc":
        agree = all(row.get(name) == rows[0].get(name) for row in rows)
        assert (name in shown) != agree


def test_evaluations_make_the_table(server, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", server.uri)
    for width in (32, 64):
        with open_stage(
            root,
            section="evaluate",
            key="x",
            name="x",
            seed=0,
            task="forecast",
            dataset="viewed",
            headlines={"absent": "higher", "crps": "lower"},
        ) as tracker:
            tracker.log_params({"stage1": {"width": width, "layers": 2}})
            tracker.log_metrics({"mse": 0.2, "crps": 0.1})
    assert sync(root).waiting == {}
    experiment = MlflowClient(tracking_uri=server.uri).get_experiment_by_name("weir/viewed")
    state = json.loads(experiment.tags[TAG])
    assert set(state["selectedColumns"]) == {
        "metrics.`mse`",
        "metrics.`crps`",
        "params.`stage1.width`",
        "tags.`seed`",
    }
    assert (state["orderByKey"], state["orderByAsc"]) == ("metrics.`crps`", True)
