"""The hash of a stage's code covers every module of Weir that the stage imports, and no other."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from checkout import REPOSITORY

from weir.pipeline import closure, code
from weir.pipeline.closure import module_file, stage_modules
from weir.pipeline.code import SECTION_OF, code_digests, defaults, modules, source_digest
from weir.tasks import TASKS, part

RUNNING = ("weir.cli", "weir.commands", "weir.pipeline", "weir.tracking")
"""What runs a stage, records it and takes it up again, but has no part in its result."""

IMPORT = """
import json, sys
from importlib import import_module
found = {}
for stage, names in json.loads(sys.argv[1]).items():
    for name in [name for name in sys.modules if name.split(".")[0] == "weir"]:
        del sys.modules[name]
    for name in names:
        import_module(name)
    found[stage] = [name for name in sys.modules if name.split(".")[0] == "weir"]
print(json.dumps(found))
"""


def pairs() -> list[tuple[str, str]]:
    found = [
        (stage, task)
        for stage, section in SECTION_OF.items()
        for task in TASKS
        if section in part(task, "settings.sections").SECTIONS
    ]
    return found + [("report", task) for task in TASKS]


@pytest.mark.parametrize("task", TASKS)
def test_what_is_really_imported_is_in_the_closure(task: str) -> None:
    """Python's own account: import a stage with all it reaches and look at `sys.modules`."""
    known = {
        stage: sorted(name for name in stage_modules(stage, task) if module_file(name))
        for stage, of_task in pairs()
        if of_task == task
    }
    done = subprocess.run(
        [sys.executable, "-c", IMPORT, json.dumps(known)],
        capture_output=True,
        text=True,
        check=True,
    )
    really = json.loads(done.stdout)
    for stage in known:
        left_out = set(really[stage]) - modules(stage, task).keys() - {"weir", "weir.tasks"}
        assert not left_out, f"{stage} of {task} imports what its hash leaves out"


@pytest.mark.parametrize(("stage", "task"), pairs())
def test_a_stage_imports_nothing_of_the_engines_nor_of_another_task(stage: str, task: str) -> None:
    names = [name for name in stage_modules(stage, task) if module_file(name)]
    assert f"weir.stages.{stage}" in names
    assert not [name for name in names if name.startswith(RUNNING)]
    others = tuple(f"weir.tasks.{other}" for other in TASKS if other != task)
    assert not [name for name in names if others and name.startswith(others)]


def test_an_edit_changes_the_hash_of_those_that_import_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "weir"
    _copy(package)
    monkeypatch.setattr(closure, "PACKAGE", package)
    before = _fresh_digests()
    _append(package / "flows/solvers.py", "EDITED = 1")
    after = _fresh_digests()
    changed = {stage for stage, value in after.items() if value != before[stage]}
    assert {"stage2", "joint", "evaluate"} <= changed
    assert not changed & {"fetch", "preprocess", "stage1", "report"}


def test_another_task_keeps_its_hashes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "weir"
    _copy(package)
    monkeypatch.setattr(closure, "PACKAGE", package)
    before = _fresh_digests()
    for file in (package / "tasks" / TASKS[0]).rglob("*.py"):
        _append(file, "EDITED = 1")
    after = _fresh_digests()
    for stage in SECTION_OF:
        for task in TASKS:
            same = after[stage].get(task) == before[stage].get(task)
            assert same == (task != TASKS[0] or task not in before[stage])


def test_a_template_belongs_to_the_report(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "weir"
    _copy(package)
    monkeypatch.setattr(closure, "PACKAGE", package)
    before = _fresh_digests()
    template = next((package / "report/templates").iterdir())
    template.write_text(template.read_text() + " ")
    after = _fresh_digests()
    assert {stage for stage in after if after[stage] != before[stage]} == {"report"}


def test_remarks_and_layout_do_not_count(tmp_path: Path) -> None:
    def of(text: str) -> str:
        path = tmp_path / f"{abs(hash(text))}.py"
        path.write_text(text)
        return source_digest(path)

    plain = of("def f(x):\n    return x + 1\n")
    assert of('"""Text."""\n\n\ndef f(x):  # why\n    """Text."""\n    return (x + 1)\n') == plain
    assert of("def f(x):\n    return x + 2\n") != plain
    assert of("async def f(x):\n    '''Text.'''\n    return x\n") == of(
        "async def f(x):\n    return x\n"
    )


def test_a_changed_default_counts_a_changed_description_does_not() -> None:
    from pydantic import Field

    from weir.settings.base import Config

    class Inner(Config):
        steps: int = Field(3, description="Steps.")

    class Other(Config):
        steps: int = Field(3, description="Number of steps.", ge=0)

    class Third(Config):
        steps: int = Field(4, description="Steps.")

    assert defaults(Inner) == defaults(Other) != defaults(Third)


def test_every_stage_of_dvc_yaml_reads_its_hash() -> None:
    from weir.pipeline.params.yaml_file import read_yaml

    stages = read_yaml(REPOSITORY / "dvc.yaml")["stages"]
    for name, stage in stages.items():
        if name != "plan":
            entry = "code.report" if name == "report" else f"code.{name}.${{item.task}}"
            assert {"results/code.json": [entry]} in stage["do"]["params"]
    assert {*stages} == {"plan", *code_digests()["code"]}


def _copy(package: Path) -> None:
    import shutil

    shutil.copytree(closure.PACKAGE, package, ignore=shutil.ignore_patterns("__pycache__"))


def _append(file: Path, text: str) -> None:
    file.write_text(f"{file.read_text()}\n{text}\n")


def _fresh_digests() -> dict:
    closure._imports.cache_clear()
    code.source_digest.cache_clear()
    found = code_digests()["code"]
    closure._imports.cache_clear()
    code.source_digest.cache_clear()
    return found
