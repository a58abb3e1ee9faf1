"""The hash of a stage's code: what it counts, what it does not, and whose code it covers.

Small packages show the rules one by one; Weir's own source shows that they hold at its size.
"""

from __future__ import annotations

import ast
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from checkout import PARAMS, REPOSITORY

from weir.pipeline.closure import Source
from weir.pipeline.code import (
    PACKAGE,
    SECTION_OF,
    code_digest,
    code_digests,
    defaults,
    kinds_of,
    of_runs,
    roots,
)
from weir.pipeline.content import Target
from weir.pipeline.kind import other_words
from weir.tasks import TASKS, part

RUNNING = ("weir.cli", "weir.commands", "weir.engines", "weir.pipeline", "weir.tracking")
"""What runs a stage, records it and takes it up again, but has no part in its result."""

PLAN = json.loads((REPOSITORY / "workflow" / "plan.json").read_text())
KINDS = kinds_of(PLAN)
"""The kinds of Weir's own params.yaml."""

Files = dict[str, str]

TOY: Files = {
    "__init__.py": "",
    "errors.py": "class WeirError(Exception):\n    pass\n",
    "tasks/__init__.py": """
from importlib import import_module

TASKS = ("toy",)

def part(task, name):
    return import_module(f"weir.tasks.{task}.{name}")
""",
    "training/__init__.py": "",
    "training/progress.py": """
class Progress:
    def __init__(self, label, total, noun="step"):
        self.text = f"{label}: {total} {noun}s"
""",
    "training/rates.py": '''
import math

RATE = 0.1

def warmed(step, rate=RATE):
    """Rate at a step."""
    return rate * math.exp(-step)

def unused(step):
    return step
''',
    "tasks/toy/__init__.py": "",
    "tasks/toy/config.py": '''
from pydantic import BaseModel, Field

class Toy(BaseModel):
    """Settings."""

    steps: int = Field(3, ge=1, description="Steps of the training.")
    """How many."""
''',
    "tasks/toy/stage1.py": """
from weir.tasks.toy.config import Toy

def build(card):
    return Toy(steps=card)

def others(card):
    return card
""",
    "stages/__init__.py": "",
    "stages/stage1.py": '''
"""A stage."""

from __future__ import annotations

import logging
import warnings
from typing import TYPE_CHECKING

from weir.errors import WeirError
from weir.tasks import part
from weir.training.progress import Progress
from weir.training.rates import warmed

if TYPE_CHECKING:
    from weir.training.rates import unused

__all__ = ["run"]

_log = logging.getLogger(__name__)


def run(config: unused, seed: int = 0) -> float:
    """Train."""
    stage = part("toy", "stage1")
    model = stage.build(config)  # a remark
    progress = Progress(f"train {seed}", 3, noun="step")
    if seed < 0:
        where = f"seed {seed}"
        raise WeirError(f"{where}: is negative; " + "take another")
    if seed > 9:
        warnings.warn("a large seed", stacklevel=2)
        _log.warning("seed %d is large", seed)
        print("a large seed")
        raise problem(seed, f"seed {seed}")
    first = warmed(seed)
    second = warmed(first, rate=2)
    return first - second + round(model.steps, 1)


def problem(seed: int, text: str) -> WeirError:
    """An error in words."""
    return WeirError(f"{text}: {seed} is large")
''',
}
"""A package with one stage of one task."""

STAGE = "stages/stage1.py"
RATES = "training/rates.py"
CONFIG = "tasks/toy/config.py"
TASK = "tasks/toy/stage1.py"


def toy_hash(folder: Path, files: Files) -> set[str]:
    """What is hashed of a small package."""
    for name, text in files.items():
        file = folder / "weir" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    return Source(folder / "weir").digests([Target("weir.stages.stage1", "run")], "toy")


def edited(file: str, old: str, new: str) -> Files:
    assert TOY[file].count(old) == 1, f"{file} has no single {old!r}"
    return {**TOY, file: TOY[file].replace(old, new)}


SAYS = {
    "a docstring": (STAGE, '"""Train."""', '"""Fit."""'),
    "no docstring": (STAGE, '    """Train."""\n', ""),
    "the docstring of a module": (STAGE, '"""A stage."""', '"""The stage."""'),
    "the docstring of an attribute": (CONFIG, '"""How many."""', '"""Number."""'),
    "a comment": (STAGE, "# a remark", "# another"),
    "layout": (STAGE, "round(model.steps, 1)", "round(\n        model.steps,\n        1,\n    )"),
    "a setting's description": (CONFIG, "Steps of the training.", "Number of steps."),
    "an error's message": (STAGE, '"take another"', '"choose one from 0 on"'),
    "what an error's message shows": (STAGE, "{where}: is", "{where} of {config}: is"),
    "a part of an error's message": (STAGE, 'f"seed {seed}"\n', 'f"the seed {seed}"\n'),
    "an error's words for a helper": (STAGE, 'problem(seed, f"seed {seed}")', 'problem(seed, "s")'),
    "the helper that words an error": (
        STAGE,
        "{text}: {seed} is large",
        "{text} {seed}: too large",
    ),
    "a warning": (STAGE, '"a large seed", stacklevel', '"take a small seed", stacklevel'),
    "a line of the log": (STAGE, "seed %d is large", "large seed: %d"),
    "no line of the log": (STAGE, '        _log.warning("seed %d is large", seed)\n', ""),
    "a line on the terminal": (STAGE, 'print("a large seed")', 'print("large")'),
    "a progress label": (STAGE, 'f"train {seed}"', 'f"training, seed {seed}"'),
    "what a step is called": (STAGE, 'noun="step"', 'noun="batch"'),
    "how progress is shown": ("training/progress.py", "{label}: {total}", "{label}, {total}"),
    "an annotation": (STAGE, "-> float", "-> int"),
    "an annotated variable": (STAGE, "first = ", "first: float = "),
    "what only annotations use": (RATES, "return step\n", "return step + 1\n"),
    "what other stages use": (TASK, "return card\n", "return [card]\n"),
    "what is offered": (STAGE, '["run"]', '["run", "problem"]'),
    "an assertion": (STAGE, "    first = ", "    assert seed >= 0\n    first = "),
}
"""Edits of what code says: the hash stays."""

DOES = {
    "a constant": (RATES, "RATE = 0.1", "RATE = 0.2"),
    "a literal": (STAGE, "seed > 9", "seed > 8"),
    "a call": (STAGE, "round(model", "abs(model"),
    "the module that a function is imported from": (RATES, "import math", "import cmath as math"),
    "a default argument": (STAGE, "seed: int = 0", "seed: int = 1"),
    "an operator": (STAGE, "first - second", "first + second"),
    "the order of operands": (STAGE, "first - second", "second - first"),
    "a keyword's value": (STAGE, "rate=2", "rate=3"),
    "which argument": (STAGE, "first, rate=2", "first, step=2"),
    "a setting's default": (CONFIG, "Field(3", "Field(4"),
    "a setting's bound": (CONFIG, "ge=1", "ge=2"),
    "a setting's type": (CONFIG, "steps: int", "steps: float"),
    "a task's part": (TASK, "steps=card", "steps=card + 1"),
    "a module's effect": (RATES, "RATE = 0.1", "RATE = 0.1\nmath.pi = 3"),
    "the kind of an error": (STAGE, "raise WeirError(", "raise ValueError("),
    "when an error is raised": (STAGE, "seed < 0", "seed < 1"),
    "a string that is no message": (
        STAGE,
        "return first",
        'config["mode"] = "fast"\n    return first',
    ),
    "a message that is kept": (STAGE, "seed > 9:", "seed > 9:\n        config.note = where = 'so'"),
    "a function of the same name": (
        STAGE,
        "from weir.training.rates import warmed",
        "from weir.errors import WeirError as warmed",
    ),
    "the order of dependent statements": (
        STAGE,
        "    first = warmed(seed)\n    second = warmed(first, rate=2)\n",
        "    second = warmed(first, rate=2)\n    first = warmed(seed)\n",
    ),
    "a name": (STAGE, "stage.build(config)", "stage.others(config)"),
}
"""Edits of what code does: the hash changes."""


@pytest.fixture
def plain(tmp_path: Path) -> set[str]:
    return toy_hash(tmp_path / "plain", TOY)


@pytest.mark.parametrize("edit", SAYS)
def test_what_code_says_does_not_count(edit: str, plain: set[str], tmp_path: Path) -> None:
    assert toy_hash(tmp_path / "edited", edited(*SAYS[edit])) == plain


@pytest.mark.parametrize("edit", DOES)
def test_what_code_does_counts(edit: str, plain: set[str], tmp_path: Path) -> None:
    assert toy_hash(tmp_path / "edited", edited(*DOES[edit])) != plain


def without(*names: str) -> Files:
    return {name: text for name, text in TOY.items() if name not in names}


def importing(statement: str, files: Files | None = None) -> Files:
    """The package with another import of `warmed` in the stage."""
    usual = "from weir.training.rates import warmed\n"
    return {**(files or TOY), STAGE: TOY[STAGE].replace(usual, statement)}


def a_module_renamed() -> Files:
    files = importing("from weir.training.pace import warmed\n", without(RATES))
    return {**files, "training/pace.py": TOY[RATES]}


def modules_merged() -> Files:
    files = importing("from weir.training.progress import warmed\n", without(RATES))
    return {**files, "training/progress.py": TOY["training/progress.py"] + TOY[RATES]}


def a_function_moved() -> Files:
    constant, function = "RATE = 0.1\n", TOY[RATES].partition("RATE = 0.1\n")[2]
    files = importing("from weir.errors import warmed\n")
    head = "import math\nfrom weir.training.rates import RATE\n"
    return {**files, RATES: constant, "errors.py": head + TOY["errors.py"] + function}


def through_a_package() -> Files:
    files = importing("from weir.training import warmed\n")
    return {**files, "training/__init__.py": "from weir.training.rates import warmed\n"}


def through_a_module() -> Files:
    files = importing("from weir.training import rates\n")
    return {**files, STAGE: files[STAGE].replace("warmed(", "rates.warmed(")}


def under_another_name() -> Files:
    files = importing("from weir.training.rates import warmed as warm\n")
    return {**files, STAGE: files[STAGE].replace("warmed(", "warm(")}


def where_it_is_used() -> Files:
    files = importing("")
    inside = "    from weir.training.rates import warmed\n\n    first = "
    return {**files, STAGE: files[STAGE].replace("    first = ", inside)}


def a_part_in_a_folder() -> Files:
    files = edited(STAGE, 'part("toy", "stage1")', 'part("toy", "flow.stage1")')
    del files[TASK]
    return {**files, "tasks/toy/flow/__init__.py": "", "tasks/toy/flow/stage1.py": TOY[TASK]}


MOVES = [
    a_module_renamed,
    modules_merged,
    a_function_moved,
    through_a_package,
    through_a_module,
    under_another_name,
    where_it_is_used,
    a_part_in_a_folder,
]


@pytest.mark.parametrize("move", MOVES)
def test_where_code_lies_does_not_count(
    move: Callable[[], Files], plain: set[str], tmp_path: Path
) -> None:
    files = move()
    assert files != TOY
    assert toy_hash(tmp_path / "moved", files) == plain


@pytest.mark.parametrize("move", MOVES)
def test_what_was_moved_still_counts(
    move: Callable[[], Files], plain: set[str], tmp_path: Path
) -> None:
    for old, new in (("math.exp(-step)", "math.exp(step)"), ("= 0.1", "= 1"), ("=card", "=1")):
        files = {name: text.replace(old, new) for name, text in move().items()}
        assert files != move()
        assert toy_hash(tmp_path / old, files) != plain


def test_twins_that_become_one_count_as_one(tmp_path: Path) -> None:
    use = "from weir.training.{} import warmed as other"
    files = edited(STAGE, "    first = ", f"    {use.format('twin')}\n    other(1)\n    first = ")
    one = {**files, STAGE: files[STAGE].replace(use.format("twin"), use.format("rates"))}
    two = {**files, "training/twin.py": TOY[RATES]}
    assert toy_hash(tmp_path / "one", one) == toy_hash(tmp_path / "two", two)


def test_a_name_bound_anew_counts_in_its_order(tmp_path: Path) -> None:
    def of(number: int, body: str) -> set[str]:
        return toy_hash(tmp_path / str(number), edited(RATES, "RATE = 0.1\n", body))

    first = of(1, "RATE = 1\nHALF = RATE\nRATE = HALF + 2\n")
    assert of(2, "RATE = 1\nRATE = 2\nHALF = RATE\n") != first
    assert of(3, "RATE = 1\nHALF = RATE\nRATE = HALF + 3\n") != first


def test_a_name_that_is_not_found_takes_in_its_whole_module(tmp_path: Path) -> None:
    def of(name: str, more: str) -> set[str]:
        files = edited(RATES, "rate * math", "mystery(rate) * math")
        return toy_hash(tmp_path / name, {**files, RATES: files[RATES] + more})

    assert of("one", "def other():\n    return 1\n") != of("two", "def other():\n    return 2\n")


def test_a_stage_may_be_passed_on_by_its_module(plain: set[str], tmp_path: Path) -> None:
    files = {**TOY, "training/run.py": TOY[STAGE], STAGE: "from weir.training.run import run\n"}
    assert toy_hash(tmp_path / "moved", files) == plain
    with pytest.raises(ValueError, match="no such module"):
        toy_hash(tmp_path / "gone", without(STAGE))


def test_a_part_needs_a_name_that_can_be_read(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="needs the name as a string"):
        toy_hash(tmp_path, edited(STAGE, 'part("toy", "stage1")', 'part("toy", config.part)'))


MODELS = {
    **TOY,
    "tasks/toy/kinds.py": """
from weir.tasks.toy import small, wide

class Middle:
    pass

def build(config):
    match config.method:
        case "small":
            return small.Small()
        case "wide" | "broad" if config.steps:
            from weir.tasks.toy.deep import deepen

            return deepen(wide.Wide())
        case "plain":
            return None
        case _:
            return Middle()

def prepare(card):
    match card.section:
        case "stage1":
            module = part("toy", "first")
        case "stage2":
            module = part("toy", "second")
    return module.build(card)

def weigh(config):
    match config["model"]:
        case "wide":
            match config.method:
                case "small" as method:
                    return small.both(method)
    return 0

from weir.tasks import part
""",
    "tasks/toy/small.py": """
class Small:
    size = 1

def both(method):
    return method + "both"
""",
    "tasks/toy/wide.py": "class Wide:\n    size = 2\n",
    "tasks/toy/deep.py": "def deepen(model):\n    return model * 3\n",
    "tasks/toy/first.py": "def build(card):\n    return 4\n",
    "tasks/toy/second.py": "def build(card):\n    return 5\n",
    STAGE: """
from weir.tasks.toy.kinds import build, prepare, weigh

def run(config):
    return build(config), prepare(config), weigh(config)
""",
}
"""The package with kinds of models."""

WORDS = frozenset({"stage1", "stage2", "small", "wide", "broad"})
"""Their words."""

KIND_EDITS = {
    "of one kind": ("small.py", "size = 1", "size = 7", {"small"}),
    "of one of two kinds": ("wide.py", "size = 2", "size = 7", {"wide", "broad"}),
    "in an import of an arm": ("deep.py", "model * 3", "model * 7", {"wide", "broad"}),
    "of the other models": ("kinds.py", "class Middle:", "class Middle(int):", WORDS),
    "of a section": ("first.py", "return 4", "return 7", {"stage1"}),
    "of another section": ("second.py", "return 5", "return 7", {"stage2"}),
    "of two kinds together": ("small.py", '"both"', '"two"', {"small wide"}),
    "of the choice itself": ("kinds.py", "if config.steps", "if config.rate", WORDS),
}
"""Edits, and the kinds whose hash they change."""


def kind_hash(folder: Path, files: Files, kind: str) -> set[str]:
    """What is hashed of a small package for a kind of model."""
    toy_hash(folder, files)
    others = WORDS - set(kind.split())
    return Source(folder / "weir").digests([Target("weir.stages.stage1", "run")], "toy", others)


@pytest.mark.parametrize("edit", KIND_EDITS)
def test_code_of_a_kind_counts_for_that_kind(edit: str, tmp_path: Path) -> None:
    file, old, new, changed = KIND_EDITS[edit]
    name = f"tasks/toy/{file}"
    assert MODELS[name].count(old) == 1
    files = {**MODELS, name: MODELS[name].replace(old, new)}
    for kind in (*WORDS, "small wide", "small stage1"):
        before = kind_hash(tmp_path / f"{kind} before", MODELS, kind)
        differs = kind_hash(tmp_path / kind, files, kind) != before
        assert differs == any(set(words.split()) <= set(kind.split()) for words in changed), kind
    assert toy_hash(tmp_path / "edited", files) != toy_hash(tmp_path / "plain", MODELS)


@pytest.mark.parametrize(
    "match",
    [
        "match config.mode:\n        case 'small':",
        "match config.method, 1:\n        case 'small', 1:",
        "match config.method:\n        case 'none':",
        "match config.method:\n        case 'small' | None:",
        "match config.method:\n        case str():",
        "match config.method:\n        case method:",
    ],
)
def test_an_arm_that_another_kind_may_take_always_counts(match: str, tmp_path: Path) -> None:
    def of(name: str, value: int) -> set[str]:
        text = f"import weir.tasks.toy.small\ndef run(config):\n    {match}\n            "
        text += "return weir.tasks.toy.small.Small"
        files = {**MODELS, STAGE: text, "tasks/toy/small.py": f"class Small:\n    x = {value}\n"}
        return kind_hash(tmp_path / name, files, "wide")

    assert of("one", 1) != of("two", 2)


def pairs() -> list[tuple[str, str]]:
    found = [
        (stage, task)
        for stage, section in SECTION_OF.items()
        for task in TASKS
        if section in part(task, "settings.sections").SECTIONS
    ]
    return found + [("report", task) for task in TASKS]


@pytest.fixture(scope="module")
def own() -> Source:
    return Source(PACKAGE)


@pytest.fixture(scope="module")
def hashes() -> dict:
    return code_digests(KINDS)["code"]


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A copy of Weir's source."""
    target = tmp_path / "weir"
    return shutil.copytree(PACKAGE, target, ignore=shutil.ignore_patterns("__pycache__"))


@pytest.mark.parametrize(("stage", "task"), pairs())
def test_a_stage_reaches_nothing_of_the_engines_nor_of_another_task(
    stage: str, task: str, own: Source
) -> None:
    kind = min(KINDS.get(stage, {}).get(task, ["data"]))
    reached = own.reached(roots(stage, task, kind), task)
    assert Target(f"weir.stages.{stage}", "run") in reached
    assert not [target for target in reached if target.module.startswith(RUNNING)]
    others = tuple(f"weir.tasks.{other}." for other in TASKS if other != task)
    assert not [target for target in reached if target.module.startswith(others)]


def test_one_hash_and_all_of_them_agree(hashes: dict) -> None:
    kind, expected = next(iter(hashes["stage1"][TASKS[0]].items()))
    assert code_digest("stage1", TASKS[0], kind) == expected
    assert code_digest("report", "", "") == hashes["report"]


def test_each_run_has_the_hash_of_its_kind(hashes: dict) -> None:
    found = of_runs(PLAN, {"code": hashes})["code"]
    assert found.pop("report") == hashes["report"]
    assert {stage: set(found[stage]) for stage in found} == {
        stage: set(PLAN["runs"][stage]) for stage in SECTION_OF
    }
    run = PLAN["runs"]["distill"]["river-onestep-s0"]
    assert found["distill"]["river-onestep-s0"] == hashes["distill"]["forecast"][run["kind"]]


def test_what_is_known_is_that_of_this_source(copy: Path, tmp_path: Path) -> None:
    work = tmp_path / "work"
    some = {"fetch": {"image": {"data"}}, "preprocess": {"image": {"data"}}}
    found = code_digests(some, copy, work)
    kept = work / "code.json"
    before = kept.read_text()
    assert code_digests(some, copy, work) == found
    assert kept.read_text() == before
    # More is added, and what another process wrote meanwhile is not lost.
    code_digests({"fetch": {"forecast": {"data"}}}, copy, work)
    assert set(json.loads(before)["hashes"]) < set(json.loads(kept.read_text())["hashes"])
    # It is of another source, or broken.
    kept.write_text(re.sub(r'"source": "\w+"', '"source": "0"', before))
    assert code_digests(some, copy, work) == found
    kept.write_text(before[:99])
    assert code_digests(some, copy, work) == found
    disturb(copy / "tasks/image/preprocessing/preprocess.py")
    after = code_digests(some, copy, work)["code"]
    assert after["fetch"] == found["code"]["fetch"]
    assert after["preprocess"] != found["code"]["preprocess"]


def test_hashes_of_a_source_that_is_edited_meanwhile_are_not_kept(
    copy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reached = Source.reached

    def edit(self: Source, *given: Any) -> set[Target]:
        (copy / "files.py").write_text("")
        return reached(self, *given)

    monkeypatch.setattr(Source, "reached", edit)
    code_digests({"fetch": {"image": {"data"}}}, copy, tmp_path / "work")
    assert not (tmp_path / "work").exists()


FAR = {
    "the score flow": (
        "tasks/image/flow/score_flow.py",
        "baseline/image/baseline-training_images",
        "stage2/image/stage2-flow+stage1-pixels",
    ),
    "the score flow, in evaluation": (
        "tasks/image/flow/score_flow.py",
        "evaluate/image/baseline-training_images",
        "evaluate/image/stage2-flow+stage1-pixels",
    ),
    "the score flow, beside a denoiser": (
        "tasks/image/flow/score_flow.py",
        "stage2/image/stage2-denoiser+stage1-pixels",
        "stage2/image/stage2-flow+stage1-pixels",
    ),
    "records that a flow makes": (
        "tasks/clinical/flow/synthesis.py",
        "baseline/clinical/baseline-logistic",
        "stage2/clinical/stage2-flow+stage1-seqsetvae",
    ),
    "records that a flow makes, in evaluation": (
        "tasks/clinical/flow/synthesis.py",
        "evaluate/clinical/baseline-mean_rate",
        "evaluate/clinical/stage2-flow+stage1-seqsetvae",
    ),
    "the flow of records, beside a head": (
        "tasks/clinical/flow/record_flow.py",
        "stage2/clinical/stage2-head+stage1-seqsetvae",
        "stage2/clinical/stage2-flow+stage1-seqsetvae",
    ),
    "a baseline": (
        "tasks/perturb/baselines/linear.py",
        "baseline/perturb/baseline-additive",
        "baseline/perturb/baseline-linear",
    ),
    "a baseline, in evaluation": (
        "tasks/perturb/baselines/linear.py",
        "evaluate/perturb/baseline-additive",
        "evaluate/perturb/baseline-linear",
    ),
    "regression": (
        "distillation/regression.py",
        "distill/forecast/distill-energy+stage2+stage1-itransformer",
        "distill/forecast/distill-regression+stage2+stage1-itransformer",
    ),
    "the evaluation of records that were made": (
        "tasks/clinical/evaluation/synthetic.py",
        "evaluate/clinical/baseline-logistic",
        "evaluate/clinical/distill-regression+stage2-flow+stage1-seqsetvae",
    ),
}
"""Files, with a stage and kind that has nothing to do with it, and another that has."""


def chosen(package: Path, *places: str) -> list[str]:
    """Hashes of some stages, tasks and kinds."""
    kinds: dict[str, dict[str, set[str]]] = {}
    for stage, task, kind in (place.split("/") for place in places):
        kinds.setdefault(stage, {}).setdefault(task, set()).add(kind)
    found = code_digests(kinds, package)["code"]
    return [found[stage][task][kind] for stage, task, kind in (each.split("/") for each in places)]


@pytest.mark.parametrize("edit", FAR)
def test_an_edit_of_one_kind_leaves_the_others(edit: str, copy: Path) -> None:
    file, far, near = FAR[edit]
    before = chosen(copy, far, near)
    disturb(copy / file)
    after = chosen(copy, far, near)
    assert after[0] == before[0]
    assert after[1] != before[1]


class _Reworded(ast.NodeTransformer):
    """Other docstrings, errors and descriptions."""

    def visit_Expr(self, node: ast.Expr) -> ast.AST:
        if isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
            return ast.parse("'Other words.'").body[0]
        return self.generic_visit(node)

    def visit_Call(self, node: ast.Call) -> ast.AST:
        name = ast.unparse(node.func)
        if name in ("UserError", "WeirError", "ValueError"):
            node.args = [ast.Constant("other words")]
        for keyword in node.keywords:
            if name == "Field" and keyword.arg == "description":
                keyword.value = ast.Constant("Other words.")
        return self.generic_visit(node)


def test_weir_reworded_has_the_same_hashes(copy: Path, hashes: dict) -> None:
    for file in copy.rglob("*.py"):
        file.write_text(ast.unparse(_Reworded().visit(ast.parse(file.read_text()))))
    assert code_digests(KINDS, copy)["code"] == hashes


def test_weir_with_rooms_renamed_has_the_same_hashes(copy: Path, hashes: dict) -> None:
    rooms = ("training", "networks", "metrics")
    for room in rooms:
        (copy / room).rename(copy / f"{room}_moved")
    for file in copy.rglob("*.py"):
        text = re.sub(rf"\bweir\.({'|'.join(rooms)})\b", r"weir.\1_moved", file.read_text())
        file.write_text(text)
    assert code_digests(KINDS, copy)["code"] == hashes


class _Disturbed(ast.NodeTransformer):
    """Functions that do something else."""

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        node.body.append(ast.parse("while None: pass").body[0])
        return self.generic_visit(node)


def disturb(file: Path) -> None:
    file.write_text(ast.unparse(_Disturbed().visit(ast.parse(file.read_text()))))


def test_an_edit_changes_the_hash_of_those_that_use_it(copy: Path, hashes: dict) -> None:
    disturb(copy / "flows/solvers.py")
    after = code_digests(KINDS, copy)["code"]
    changed = {stage for stage, value in after.items() if value != hashes[stage]}
    assert {"teacher", "evaluate"} <= changed
    assert not changed & {"fetch", "preprocess", "stage1", "report"}


def test_another_task_keeps_its_hashes(copy: Path, hashes: dict) -> None:
    for file in (copy / "tasks" / TASKS[0]).rglob("*.py"):
        disturb(file)
    after = code_digests(KINDS, copy)["code"]
    for stage in SECTION_OF:
        for task in TASKS:
            same = after[stage].get(task) == hashes[stage].get(task)
            assert same == (task != TASKS[0] or task not in hashes[stage]), (stage, task)


def test_a_template_belongs_to_the_report(copy: Path, hashes: dict) -> None:
    template = next(copy.rglob("*.j2"))
    template.write_text(template.read_text() + " ")
    after = code_digests(KINDS, copy)["code"]
    assert {stage for stage in after if after[stage] != hashes[stage]} == {"report"}


TRACE = """
import json, sys, threading
from importlib import import_module
from pathlib import Path
from weir.pipeline.params.graph import load_params
from weir.pipeline.layout import Layout
from weir.pipeline.plan import write_plan
from weir.pipeline.runner import execute, prepare
from weir.tracking.tracker import NullTracker

layout = Layout(Path.cwd())
params = layout.root / "params.yaml"
layout.plan.parent.mkdir()
write_plan(load_params(params), layout)
found, kinds = {}, {}

def profile(frame, event, _):
    module = frame.f_globals.get("__name__", "")
    if event == "call" and module.startswith("weir."):
        called.add((module, frame.f_code.co_qualname))

def traced(run):
    def run_traced(*args, **more):
        threading.setprofile(profile)
        sys.setprofile(profile)
        try:
            run(*args, **more)
        finally:
            sys.setprofile(None)
            threading.setprofile(None)
    return run_traced

for stage, name in json.loads(sys.argv[1]):
    called = found.setdefault(f"{stage} {name}", set())
    module = import_module(f"weir.stages.{stage}")
    module.run = traced(module.run)
    job = prepare(stage, name, 0, layout, params)
    execute(job, layout, NullTracker())
    kinds[f"{stage} {name}"] = job.kind
print(json.dumps([[*run.split(), kinds[run], sorted(called)] for run, called in found.items()]))
"""
"""Runs stages and tells which functions of Weir Python called in each."""


@pytest.mark.pipeline
def test_what_python_calls_is_in_the_closure(tmp_path: Path, own: Source) -> None:
    """Python's own account: run the stages and look at every call."""
    (tmp_path / "params.yaml").write_text(PARAMS)
    stages = [("fetch", "river"), ("preprocess", "river"), ("stage1", "net"), ("stage2", "flow")]
    stages += [("teacher", "flow"), ("distill", "student"), ("baseline", "naive")]
    stages += [("evaluate", "student"), ("evaluate", "naive"), ("report", "all")]
    done = subprocess.run(
        [sys.executable, "-c", TRACE, json.dumps(stages)],
        capture_output=True,
        text=True,
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stderr
    for stage, name, kind, called in json.loads(done.stdout.splitlines()[-1]):
        others = other_words("forecast", kind) if kind else frozenset()
        reached = own.reached(roots(stage, "forecast", kind or ""), "forecast", others)
        names = {
            Target(module, name.split(".")[0])
            for module, name in called
            if counts(own, name, module)
        }
        assert len(names) > 5
        assert not names - reached, f"{stage} {name} calls what its hash leaves out"


def counts(own: Source, name: str, module: str) -> bool:
    """Whether a call has a part in a result."""
    if module.startswith(RUNNING) or name.startswith("<") or "__create_fn__" in name:
        return False  # the engine's, a module's own run, a dataclass's methods
    if module == "weir.tasks" or name.startswith("Progress."):
        return False  # says where things lie; only shows something
    # The body of a class runs when its module is imported.
    found = own.module(module)
    assert found is not None
    return not isinstance(found.defined.get(name, [None])[0], ast.ClassDef)


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


def test_every_stage_of_dvc_yaml_reads_its_hash(hashes: dict) -> None:
    from weir.pipeline.params.yaml_file import read_yaml

    stages = read_yaml(REPOSITORY / "dvc.yaml")["stages"]
    for name, stage in stages.items():
        if name != "plan":
            entry = f"code.{name}.${{key}}"
            entry = "code.report" if name == "report" else entry
            assert {"results/code.json": [entry]} in stage["do"]["params"]
    assert {*stages} == {"plan", *hashes}
