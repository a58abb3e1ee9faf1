"""What a report says of the run that made it, and what it leaves on the side."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import synthetic

from weir.artifacts.provenance import write_record
from weir.artifacts.stage_paths import StagePaths
from weir.files import folder_digest
from weir.settings.nodes import Report
from weir.stages import report
from weir.tracking.tracker import NullTracker

RUN = "etth1-naive"
RECORD: dict[str, Any] = {
    "stage": "evaluate",
    "run": RUN,
    "fingerprint": "0123",
    "inputs": {},
    "upstream": [
        {"stage": "baseline", "run": RUN, "fingerprint": "4567", "commit": "a", "seconds": 2.0}
    ],
    "commit": "3f2a9c1d7be0",
    "uncommitted_changes": False,
    "seconds": 3.0,
    "times": {"latency_ms": 12.25, "seconds": 7.0},
    "mlflow_run_id": None,
    "hardware": {"gpus": [], "cores": 2, "processor": "any"},
    "versions": {},
}


def evaluated(root: Path) -> Path:
    """A repository with one evaluation, which is in the plan, and one that is not."""
    for name in (RUN, "gone"):
        details = root / "results/evaluate" / name / "details"
        details.mkdir(parents=True)
        document = synthetic.document_of(next(iter(synthetic.MODELS)), None, "etth1", "forecast")
        document |= {"quality_curve": [], "name": name, "node": name, "label": name}
        for key in ("provenance", "latency_ms", "seconds"):
            del document[key]
        (details / "evaluation.json").write_text(json.dumps(document))
    return root


def written(root: Path, **change: Any) -> tuple[str, str, list[Path]]:
    """The page, as a report writes it and with what it loads, and the scripts that it may load."""
    if change:
        run = root / "results/evaluate" / RUN
        write_record(root, RECORD | change, folder_digest(run))
    output = root / "results/report/.part"
    output.mkdir(parents=True)
    inputs = {"evaluations": root / "results/evaluate"}
    paths = StagePaths("page", output, inputs, root=root, runs=(RUN,))
    report.run(Report(preset="etth1"), paths, NullTracker(), name="page", task="", seed=0)
    page = (output / "report.html").read_text()
    whole = (output / "whole/report.html").read_text()
    return page, whole, sorted((root / "results/provenance/report/page").iterdir())


def test_the_page_is_the_same_whenever_and_wherever_its_results_were_made(tmp_path: Path) -> None:
    pages, wholes = [], []
    for number, change in enumerate(
        (
            {"commit": "3f2a9c1d7be0"},
            {"commit": "ffffffffffff", "seconds": 8.0, "times": {"latency_ms": 99.0}},
            {},
        )
    ):
        page, whole, scripts = written(evaluated(tmp_path / str(number)), **change)
        pages.append(page)
        wholes.append(whole)
        assert len(scripts) == 1
        assert f'data-measured-by="../provenance/report/page/{scripts[0].name}"' in page
    assert pages[0] == pages[1] == pages[2]
    assert "3f2a9c1d7be0" not in pages[0] and "12.2" not in pages[0]
    assert "weir params use etth1" in pages[0] and "here they are not" in pages[0]
    assert "git checkout 3f2a9c1d7be0" in wholes[0] and "5.0 s of computing" in wholes[0]
    assert "git checkout ffffffffffff" in wholes[1] and ">99" in wholes[1]
    assert "git checkout" not in wholes[2] and "of computing" not in wholes[2]


def test_what_the_page_loads_completes_it(tmp_path: Path) -> None:
    page, whole, (script,) = written(evaluated(tmp_path), commit="3f2a9c1d7be0")
    text = script.read_text()
    assert "</" not in text
    parts = json.loads(text.removeprefix("measured(").removesuffix(");\n"))
    for number, part in enumerate(parts):
        opening = page.index(f'data-measured="{number}"')
        tag = page[page.rindex("<", 0, opening) + 1 : opening].split()[0]
        start, end = page.index(">", opening) + 1, page.index(f"</{tag}>", opening)
        assert part in whole and page[start:end] != part


def test_the_page_is_well_nested_with_and_without(tmp_path: Path) -> None:
    for page in written(evaluated(tmp_path), commit="3f2a9c1d7be0")[:2]:
        assert "<!--" not in page
        for tag in ("div", "span", "section", "table", "td", "p"):
            assert len(re.findall(rf"<{tag}[ >]", page)) == page.count(f"</{tag}>"), tag


def test_a_report_ignores_what_no_node_names(tmp_path: Path) -> None:
    page, _, _ = written(evaluated(tmp_path))
    assert RUN in page and "gone" not in page


@pytest.mark.parametrize("scores", ["../../x", "/tmp/x", "a/b", ".", "A", "x.json"])
def test_scores_are_a_name_and_no_path(scores: str) -> None:
    with pytest.raises(ValueError, match="scores"):
        Report(scores=scores)
