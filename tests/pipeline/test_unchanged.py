"""What DVC records of a stage is what the stage was made from, or nothing is recorded."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from weir.errors import UserError
from weir.pipeline.code import code_digests, of_runs
from weir.pipeline.layout import CODE, Layout
from weir.pipeline.unchanged import unchanged

PARAMS = "distill:\n  student: {steps: 3}\n  other: {steps: 3}\n"
KIND = "distill-regression+stage2+stage1-itransformer"
JOB = SimpleNamespace(
    stage="distill", section="distill", name="student", key="student-s0", task="forecast", kind=KIND
)
RUNS = {
    "student-s0": {"task": "forecast", "kind": KIND},
    "other-s0": {"task": "forecast", "kind": "distill-energy"},
}
HASHES = of_runs(
    {"runs": {"distill": RUNS}}, code_digests({"distill": {"forecast": {KIND, "distill-energy"}}})
)


@pytest.fixture
def layout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Layout:
    monkeypatch.setenv("DVC_STAGE", "distill@student-s0")
    (tmp_path / "params.yaml").write_text(PARAMS)
    (tmp_path / CODE).parent.mkdir()
    (tmp_path / CODE).write_text(json.dumps(HASHES))
    return Layout(tmp_path)


def edit_the_node(root: Path) -> None:
    (root / "params.yaml").write_text(PARAMS.replace("student: {steps: 3}", "student: {steps: 4}"))


def edit_another_node(root: Path) -> None:
    (root / "params.yaml").write_text(PARAMS.replace("other: {steps: 3}", "other: {steps: 4}"))


def reformat(root: Path) -> None:
    (root / "params.yaml").write_text("# A remark.\ndistill:\n  student:\n    steps: 3\n")


def edit_the_code(root: Path) -> None:
    edited = json.loads(json.dumps(HASHES))
    edited["code"]["distill"]["student-s0"] = "0" * 16
    (root / CODE).write_text(json.dumps(edited))


def edit_other_code(root: Path) -> None:
    edited = json.loads(json.dumps(HASHES))
    edited["code"]["report"] = "0" * 16
    edited["code"]["distill"]["other-s0"] = "0" * 16
    (root / CODE).write_text(json.dumps(edited))


@pytest.mark.parametrize("edit", [edit_another_node, reformat, edit_other_code])
def test_other_edits_do_no_harm(layout: Layout, edit: Callable[[Path], None]) -> None:
    with unchanged(JOB, layout):
        edit(layout.root)


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (edit_the_node, r"params.yaml: distill.student was edited while the stage ran"),
        (edit_the_code, r"code of stage distill was edited while it ran"),
    ],
)
def test_an_edit_of_what_it_is_made_from_fails_the_stage(
    layout: Layout, edit: Callable[[Path], None], message: str
) -> None:
    with pytest.raises(UserError, match=message), unchanged(JOB, layout):
        edit(layout.root)


def test_code_that_was_not_hashed_does_not_start(layout: Layout) -> None:
    edit_the_code(layout.root)
    with pytest.raises(UserError, match="`dvc repro plan`"), unchanged(JOB, layout):
        pytest.fail("started")


@pytest.mark.parametrize("code", [{"distill": {"forecast": {KIND: "0" * 16}}}, {"distill": {}}, {}])
def test_hashes_of_an_older_weir_do_not_do(layout: Layout, code: dict) -> None:
    (layout.root / CODE).write_text(json.dumps({"code": code}))
    with pytest.raises(UserError, match="`dvc repro plan`"), unchanged(JOB, layout):
        pytest.fail("started")


def test_by_hand_nothing_is_recorded_so_nothing_is_checked(
    layout: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("DVC_STAGE")
    with unchanged(JOB, layout):
        edit_the_node(layout.root)
        edit_the_code(layout.root)
