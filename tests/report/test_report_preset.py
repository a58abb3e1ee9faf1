"""The report stage names the preset that repeats its numbers, whatever its scores are called."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import synthetic

from weir.artifacts.stage_paths import StagePaths
from weir.settings.nodes import Report
from weir.stages import report
from weir.tracking.tracker import NullTracker


@pytest.mark.parametrize(("preset", "named"), [(None, "pages"), ("etth1", "etth1")])
def test_scores_name_the_command_that_repeats_them(
    tmp_path: Path, preset: str | None, named: str
) -> None:
    details = tmp_path / "evaluations/etth1-naive/details"
    details.mkdir(parents=True)
    document = synthetic.document_of(next(iter(synthetic.MODELS)), None, "etth1", "forecast")
    (details / "evaluation.json").write_text(json.dumps(document | {"quality_curve": []}))
    provenance = {
        "commit": "3f2a9c1d7be0",
        "hardware": {"gpus": [], "cores": 2, "processor": "any"},
        "inputs": {},
        "upstream": [],
        "stage": "evaluate",
        "run": "etth1-naive",
        "seconds": 3.0,
    }
    (details / "provenance.json").write_text(json.dumps(provenance))
    output = tmp_path / "output"
    output.mkdir()
    paths = StagePaths("page", output, {"evaluations": tmp_path / "evaluations"}, root=tmp_path)
    config = Report(scores="pages", preset=preset)
    report.run(config, paths, NullTracker(), name="page", task="forecast", seed=0)
    found = json.loads((tmp_path / "docs/scores/pages.json").read_text())
    assert found["command"].startswith(f"weir params use {named} && ")
    assert f"weir params use {named}" in (output / "report.html").read_text()
