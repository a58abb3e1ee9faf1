"""Runs of a dataset with several held-out groups: nodes crossed with folds and seeds.

No setting of a forecasting dataset makes folds, so its class is given some.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from checkout import REPOSITORY, STAGES, Checkout

from weir.errors import UserError
from weir.pipeline.job import Job
from weir.pipeline.layout import Layout
from weir.pipeline.params.graph import load_params
from weir.pipeline.plan import compile_plan, write_plan
from weir.pipeline.runner import prepare
from weir.pipeline.runs import runs
from weir.tasks.forecast.settings.dataset import ForecastDataset
from weir.tracking.run import open_stage

PARAMS = """\
seeds: [3, 5]
datasets:
  river: {task: forecast, source: {simulator: {}}, frequency: 1h}
stage1: {back: {dataset: river}}
stage2: {flow: {stage1: back}}
teacher: {flow: {model: stage2/flow}}
distill: {student: {teacher: flow}}
baseline:
  naive: {method: seasonal_naive, dataset: river}
  copula: {method: head_copula, stage1: back}
evaluate:
  student: {model: distill/student}
  naive: {model: baseline/naive}
report: {index: {}}
"""


def with_folds(monkeypatch: pytest.MonkeyPatch, *names: str) -> None:
    """Give every forecasting dataset these groups; the one of fold k has a horizon of k + 1."""
    monkeypatch.setattr(ForecastDataset, "folds", names, raising=False)
    monkeypatch.setattr(
        ForecastDataset,
        "fold",
        lambda self, k: self.model_copy(update={"horizon": k + 1}),
        raising=False,
    )


@pytest.fixture
def path(tmp_path: Path) -> Path:
    (tmp_path / "params.yaml").write_text(PARAMS)
    return tmp_path / "params.yaml"


@pytest.fixture
def folded(path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    with_folds(monkeypatch, "ham", "eel", "roe")
    return path


def test_each_fold_of_each_seed_is_a_chain_of_its_own(folded: Path) -> None:
    every = runs(load_params(folded))
    assert every["distill/student-f2-s5"].upstream == ("teacher/flow-f2-s5",)
    assert every["stage1/back-f1-s3"].upstream == ("datasets/river-f1",)
    assert every["evaluate/naive-f0"].upstream == ("baseline/naive-f0",)
    assert every["report/index"].upstream == (
        *(f"evaluate/student-f{fold}-s{seed}" for fold in range(3) for seed in (3, 5)),
        *(f"evaluate/naive-f{fold}" for fold in range(3)),
    )
    # datasets and naive (2 nodes) for 3 folds; 6 nodes for 3 folds and 2 seeds; one report
    assert len(every) == 3 * 3 + 6 * 3 * 2 + 1
    order = list(every)
    assert all(
        order.index(above) < order.index(ref) for ref in order for above in every[ref].upstream
    )


def test_a_dataset_is_fetched_once_and_preprocessed_for_each_fold(folded: Path) -> None:
    plan = compile_plan(load_params(folded), Layout(folded.parent))["runs"]
    assert plan["fetch"] == {
        "river": {"name": "river", "arguments": "river", "task": "forecast", "kind": "data"}
    }
    assert list(plan["preprocess"]) == ["river-f0", "river-f1", "river-f2"]
    assert plan["preprocess"]["river-f1"] == {
        "name": "river",
        "arguments": "river --fold 1",
        "task": "forecast",
        "kind": "data",
        "fold": 1,
        "raw": "data/raw/river",
    }
    assert plan["distill"]["student-f2-s5"] == {
        "name": "student",
        "arguments": "student --seed 5 --fold 2",
        "task": "forecast",
        "kind": "distill-regression+stage2+stage1-itransformer",
        "fold": 2,
        "seed": 5,
        "dataset": "river-f2",
        "teacher": "results/teacher/flow-f2-s5",
        "upstream": "results/stage2/flow-f2-s5",
    }
    assert plan["baseline"]["naive-f0"]["upstream"] == "data/processed/river-f0/schema.json"
    shown = plan["report"]["index"].pop("evaluations")
    assert shown == sorted(plan["evaluate"])
    assert plan["report"] == {"index": {"name": "index", "arguments": "index"}}


def test_a_single_group_makes_no_axis(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    layout = Layout(path.parent)
    without = compile_plan(load_params(path), layout)
    with_folds(monkeypatch, "ham")
    assert compile_plan(load_params(path), layout) == without
    assert "river" in without["runs"]["preprocess"]


def test_dvc_fills_in_the_templates(folded: Path) -> None:
    from dvc.repo import Repo

    root = folded.parent
    shutil.copy(REPOSITORY / "dvc.yaml", root)
    (root / "src/weir").mkdir(parents=True)
    write_plan(load_params(folded), Layout(root))
    with Repo.init(str(root), no_scm=True) as repo:
        stages = {stage.name: stage for stage in repo.index.stages}
        paths = {
            name: {Path(dep.fs_path).relative_to(root).as_posix() for dep in stage.deps}
            for name, stage in stages.items()
        }
        (curve,) = stages["evaluate@naive-f1"].outs[2:]
        assert stages["fetch@river"].cmd == "weir fetch river"
        assert stages["preprocess@river-f2"].cmd == "weir preprocess river --fold 2"
        assert "data/raw/river" in paths["preprocess@river-f2"]
        assert stages["stage2@flow-f1-s5"].cmd == "weir stage2 flow --seed 5 --fold 1"
        assert {"data/processed/river-f1", "results/stage1/back-f1-s5/config.json"} <= paths[
            "stage2@flow-f1-s5"
        ]
        assert Path(curve.fs_path).name == "curve.csv"
        assert curve.plot == {
            "x": "step",
            "y": "crps",
            "title": "Error along the horizon",
            "template": "linear",
        }


def job(path: Path, stage: str, name: str, seed: int | None = None, fold: int | None = None) -> Job:
    return prepare(stage, name, seed, Layout(path.parent), path, fold)


def test_preprocess_is_given_the_config_of_its_fold(folded: Path) -> None:
    (folded.parent / "data/raw/river").mkdir(parents=True)
    first, last = (job(folded, "preprocess", "river", fold=fold) for fold in (0, 2))
    assert (first.key, first.dataset, first.fold) == ("river-f0", "river", 0)
    assert first.inputs == last.inputs == {"raw": folded.parent / "data/raw/river"}
    assert last.output == folded.parent / "data/processed/river-f2"
    assert (first.config.horizon, last.config.horizon) == (1, 3)
    assert first.fingerprint != last.fingerprint
    fetched = job(folded, "fetch", "river")
    assert (fetched.key, fetched.fold) == ("river", None)
    assert fetched.config.horizon == ForecastDataset.model_fields["horizon"].default


def test_a_model_is_of_its_fold_and_of_the_whole_dataset(folded: Path) -> None:
    (folded.parent / "data/processed/river-f1").mkdir(parents=True)
    found = job(folded, "stage1", "back", seed=5, fold=1)
    assert (found.key, found.seed, found.fold, found.dataset) == ("back-f1-s5", 5, 1, "river")
    assert found.inputs == {"data": folded.parent / "data/processed/river-f1"}
    unseeded = job(folded, "baseline", "naive", seed=0, fold=1)
    assert unseeded.key == "naive-f1"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("stage1", "back", 3), "back: --fold must be one of its dataset's folds (0, 1, 2), got"),
        (("stage1", "back", 3, 3), "folds (0, 1, 2), got 3"),
        (("stage1", "back", None, 1), "s seeds (3, 5), got None"),
        (("stage1", "back", 4, 1), "seeds (3, 5), got 4"),
        (("preprocess", "river"), "river: --fold must be one of"),
        (("fetch", "river", None, 0), "river: has no folds here; leave out --fold 0"),
        (("report", "index", None, 0), "index: has no folds here; leave out --fold 0"),
    ],
)
def test_a_wrong_fold_is_refused(folded: Path, words: tuple, message: str) -> None:
    with pytest.raises(UserError) as caught:
        job(folded, *words)
    assert message in str(caught.value)


def test_a_fold_of_a_dataset_without_is_refused(path: Path) -> None:
    with pytest.raises(UserError, match="back: has no folds here; leave out --fold 1"):
        job(path, "stage1", "back", 3, 1)


def test_a_plan_of_an_older_weir_is_compiled_anew(path: Path) -> None:
    layout = Layout(path.parent)
    layout.plan.parent.mkdir()
    layout.plan.write_text('{"runs": {"datasets": {"river": {"name": "river"}}}}')
    assert job(path, "fetch", "river").key == "river"


def test_runs_are_tagged_with_their_fold(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WEIR_TRACKING", "spool")
    facts = {"section": "stage1", "name": "back", "seed": 5, "task": "t", "dataset": "river"}
    for key, fold in (("back-f0-s5", 0), ("back-s5", None)):
        open_stage(tmp_path, key=key, fold=fold, **facts).close()
    lines = [
        json.loads(line)
        for file in sorted((tmp_path / ".weir/spool").glob("*/*.jsonl"))
        for line in file.read_text().splitlines()
    ]
    tags = {line["name"]: line["tags"] for line in lines if line["kind"] == "run"}
    assert tags["stage1/back-f0-s5"]["fold"] == "0"
    assert tags["stage1/back-f0-s5"]["mlflow.source.name"] == "weir stage1 back --seed 5 --fold 0"
    assert "fold" not in tags["stage1/back-s5"]


@pytest.mark.pipeline
def test_both_engines_plan_and_run_the_same_folds(untouched: Checkout) -> None:
    untouched.edit(
        "src/weir/tasks/forecast/settings/dataset.py",
        "    task: Literal",
        "    folds = property(lambda self: ('ham', 'eel'))\n"
        "    fold = lambda self, k: self\n"
        "    task: Literal",
    )
    untouched.run("weir", "plan")
    wanted = {"fetch@river", "report@all"}
    for stage in STAGES - wanted:
        name, seed, number = stage.partition("-s0")
        wanted |= {f"{name}-f{fold}{seed}{number}" for fold in (0, 1)}
    assert untouched.planned() == wanted
    assert untouched.stale() == wanted
    chain = {"fetch@river", "preprocess@river-f1", "baseline@naive-f1", "evaluate@naive-f1"}
    assert untouched.executed_by_dvc("evaluate@naive-f1") == chain
    assert untouched.planned() == untouched.stale() == wanted - chain
    folder = untouched.root / "results/evaluate/naive-f1"
    document = json.loads((folder / "details/evaluation.json").read_text())
    kept = {key: document[key] for key in ("name", "node", "seed", "fold", "dataset")}
    assert kept == {
        "name": "naive-f1",
        "node": "naive",
        "seed": None,
        "fold": None,
        "dataset": "river",
    }
