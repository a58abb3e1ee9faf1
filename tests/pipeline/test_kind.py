"""The kind of a run's models: its words, and that a plan of another kind is noticed."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, get_args

import pytest
from checkout import RIVER
from pydantic import BaseModel

from weir.pipeline.content import KIND_NAMES
from weir.pipeline.kind import MODEL_SECTIONS, agrees, kind_of, link, other_words, vocabulary
from weir.pipeline.layout import Layout
from weir.pipeline.params.graph import load_params
from weir.pipeline.plan import write_plan
from weir.pipeline.runner import prepare
from weir.tasks import TASKS, part

PARAMS = f"{RIVER}baseline:\n  naive: {{method: seasonal_naive, dataset: river}}\n"


def settings(task: str, section: str, **given: Any) -> Any:
    return part(task, "settings.sections").SECTIONS[section].model_validate(given)


def test_a_kind_is_that_of_a_whole_chain() -> None:
    head = settings("clinical", "stage2", model="head", stage1="net")
    below = settings("clinical", "stage1", dataset="ward")
    stacked = settings("clinical", "baseline", method="stacked", model="stage2/head")
    evaluation = settings("clinical", "evaluate", model="baseline/stacked")
    chain = [("evaluate", evaluation), ("baseline", stacked), ("stage2", head), ("stage1", below)]
    assert kind_of(chain) == "baseline-stacked+stage2-head+stage1-seqsetvae"
    assert kind_of(chain[2:]) == "stage2-head+stage1-seqsetvae"
    assert kind_of([]) == "data"
    others = other_words("clinical", kind_of(chain))
    assert others == vocabulary("clinical") - {
        *("baseline", "stacked", "stage2", "head", "stage1", "seqsetvae")
    }
    assert {"joint", "distill", "logistic", "flow"} <= others


def test_a_section_without_kinds_is_one_word() -> None:
    assert link("stage2", settings("forecast", "stage2", stage1="net")) == "stage2"


@pytest.mark.parametrize("task", TASKS)
def test_words_are_such_as_a_kind_can_be_split_into(task: str) -> None:
    assert all(re.fullmatch("[a-z0-9_]+", word) for word in vocabulary(task))


def inner(model: type[BaseModel]) -> list[tuple[str, Any]]:
    """Settings of a section below its own."""
    found = []
    frontier = [field.annotation for field in model.model_fields.values()]
    while frontier:
        each = frontier.pop()
        frontier += get_args(each)
        if isinstance(each, type) and issubclass(each, BaseModel):
            found += [(name, field.annotation) for name, field in each.model_fields.items()]
            frontier += [field.annotation for field in each.model_fields.values()]
    return found


@pytest.mark.parametrize("task", TASKS)
def test_no_other_setting_is_taken_for_a_kind(task: str) -> None:
    """Code that chooses by it would lose arms that are taken."""
    for model in part(task, "settings.sections").SECTIONS.values():
        for name, annotation in inner(model):
            if name in KIND_NAMES:
                assert not set(get_args(annotation)) & vocabulary(task), (model, name)


def test_a_run_is_of_the_kind_that_its_settings_say() -> None:
    naive = settings("forecast", "baseline", method="seasonal_naive", dataset="river")
    assert agrees("baseline-seasonal_naive", "baseline", naive)
    assert not agrees("baseline-oracle", "baseline", naive)
    assert not agrees("baseline-seasonal_naive_2", "baseline", naive)
    assert not agrees(None, "baseline", naive)
    evaluation = settings("forecast", "evaluate", model="baseline/naive")
    assert agrees("baseline-oracle", "evaluate", evaluation)
    assert set(MODEL_SECTIONS) <= vocabulary("forecast")


def test_a_plan_of_another_kind_is_written_again(tmp_path: Path) -> None:
    path, layout = tmp_path / "params.yaml", Layout(tmp_path)
    (tmp_path / "data" / "processed" / "river").mkdir(parents=True)
    path.write_text(PARAMS)
    write_plan(load_params(path), layout)
    first = prepare("baseline", "naive", None, layout, path)
    assert first.kind == "baseline-seasonal_naive"
    path.write_text(PARAMS.replace("seasonal_naive", "oracle"))
    assert prepare("baseline", "naive", None, layout, path).kind == "baseline-oracle"
    assert '"kind": "baseline-oracle"' in layout.plan.read_text()
    layout.plan.write_text(re.sub(r'"kind": "[^"]*",', "", layout.plan.read_text()))
    assert prepare("baseline", "naive", None, layout, path).kind == "baseline-oracle"
