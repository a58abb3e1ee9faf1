"""Every stage, run by hand on a tiny series, and what it says of bad input.

The chain is run once; each test works on a copy.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

import weir as package
from weir.cli import main
from weir.errors import UserError

PARAMS = """\
seeds: [0, 1]
datasets:
  brook:
    task: forecast
    source: {simulator: {rows: 500, variables: 2}}
    frequency: 1h
    cycle: 6
    lookback: 12
    horizon: 4
stage1:
  net:
    dataset: brook
    backbone: &small {width: 8, layers: 1, heads: 2}
    training: &short {steps: 4, batch_size: 8, validate_every: 2}
stage2:
  flow: {stage1: net, network: *small, training: *short}
joint:
  both: {dataset: brook, backbone: *small, network: *small, training: *short}
teacher:
  flow: {model: stage2/flow, steps: 3, draws: 2, conditions: 20, knots: 1}
  both: {model: joint/both, steps: 3, draws: 2, conditions: 20}
distill:
  regression: {teacher: flow, draws: 2, training: *short}
  endpoint: {teacher: flow, draws: 2, method: endpoint, training: *short}
  energy: {teacher: both, draws: 2, method: energy, training: *short}
  match-mean: {teacher: flow, draws: 2, method: match_mean, training: *short}
baseline:
  naive: {method: seasonal_naive, dataset: brook}
  dlinear: {method: dlinear, dataset: brook, training: *short}
  oracle: {method: oracle, dataset: brook}
  gaussian: {method: gaussian, stage1: net}
  bootstrap: {method: bootstrap, stage1: net}
  correlated: {method: correlated_gaussian, stage1: net}
  head: {method: head, stage1: net}
  copula: {method: head_copula, stage1: net}
evaluate:
  net: {model: stage1/net, samples: 5}
  flow: {model: stage2/flow, samples: 5, steps: 2, quality_steps: [1]}
  both: {model: joint/both, samples: 5, steps: 2}
  regression: {model: distill/regression, samples: 5}
  naive: {model: baseline/naive, samples: 5}
  oracle: {model: baseline/oracle, samples: 5}
  copula: {model: baseline/copula, samples: 5}
report:
  index: {title: Tiny}
"""

CHAIN = [
    "fetch brook",
    "preprocess brook",
    "stage1 net --seed 0",
    "stage2 flow --seed 0",
    "joint both --seed 0",
    "teacher flow --seed 0",
    "teacher both --seed 0",
    *(f"distill {name} --seed 0" for name in ("regression", "endpoint", "energy", "match-mean")),
    *(f"baseline {name}" for name in ("naive", "oracle")),
    *(
        f"baseline {name} --seed 0"
        for name in ("dlinear", "gaussian", "bootstrap", "correlated", "head", "copula")
    ),
    *(f"evaluate {name} --seed 0" for name in ("net", "flow", "both", "regression", "copula")),
    *(f"evaluate {name}" for name in ("naive", "oracle")),
    "report index",
]

MODELS = [
    "stage1/net-s0",
    "stage2/flow-s0",
    "joint/both-s0",
    *(f"distill/{name}-s0" for name in ("regression", "endpoint", "energy", "match-mean")),
    "baseline/naive",
    "baseline/oracle",
    *(
        f"baseline/{name}-s0"
        for name in ("dlinear", "gaussian", "bootstrap", "correlated", "head", "copula")
    ),
]


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository in which every stage has run."""
    root = tmp_path_factory.mktemp("finished")
    (root / "dvc.yaml").touch()
    (root / "params.yaml").write_text(PARAMS)
    before = Path.cwd()
    os.chdir(root)
    os.environ["WEIR_TRACKING"] = "off"
    try:
        for words in CHAIN:
            assert main(words.split()) == 0, words
    finally:
        os.chdir(before)
        del os.environ["WEIR_TRACKING"]
    return root


@pytest.fixture
def place(finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the finished repository, as the current folder."""
    shutil.copytree(finished, tmp_path / "copy")
    monkeypatch.chdir(tmp_path / "copy")
    monkeypatch.setenv("WEIR_TRACKING", "off")
    return tmp_path / "copy"


@pytest.mark.parametrize("model", MODELS)
def test_every_model_loads_from_its_folder_alone(finished: Path, tmp_path: Path, model) -> None:
    shutil.copytree(finished / "results" / model, tmp_path / "elsewhere")
    forecaster = package.load(tmp_path / "elsewhere")
    generator = torch.Generator().manual_seed(0)
    history = torch.randn(3, 12, 2, generator=generator)
    paths = forecaster.sample(history, torch.tensor([12, 13, 40]), 6, generator=generator)
    assert paths.shape == (3, 6, 4, 2)
    assert torch.isfinite(paths).all()


def test_no_output_needs_pickle_and_none_is_left_half_written(finished: Path) -> None:
    files = [path for path in finished.rglob("*") if path.is_file()]
    assert {path.suffix for path in files} <= {
        ".safetensors", ".json", ".csv", ".npy", ".parquet", ".yaml", ".html", ".svg",
    }  # fmt: skip
    for path in finished.rglob("*.npy"):
        np.load(path, allow_pickle=False)
    assert not list(finished.rglob("*.part-*"))
    assert not list((finished / ".weir" / "checkpoints").rglob("*.safetensors"))


def test_scores_cover_every_test_window_and_are_finite(finished: Path) -> None:
    schema = json.loads((finished / "data/processed/brook/schema.json").read_text())
    first, last = schema["splits"]["test"]
    for path in (finished / "results/evaluate").glob("*/details/evaluation.json"):
        document = json.loads(path.read_text())
        assert document["protocol"]["windows"] == last - first - schema["horizon"] + 1
        assert all(np.isfinite(value) for value in document["metrics"].values())
        assert set(document["metrics"]) == set(document["definitions"])


def test_the_report_shows_all_models_and_stands_alone(finished: Path) -> None:
    page = (finished / "results/report/index.html").read_text()
    for name in ("net", "flow", "both", "regression", "naive", "oracle", "copula"):
        assert f">{name}<" in page or f"{name}\n" in page, name
    assert "http://" not in page.replace("http://www.w3.org", "")
    assert "<script src" not in page and "<link" not in page


def test_running_again_gives_the_same_bytes(place: Path) -> None:
    before = {
        path: path.read_bytes()
        for section in ("stage1/net-s0", "stage2/flow-s0", "distill/regression-s0")
        for path in (place / "results" / section).iterdir()
        if path.name != "provenance.json"
    }
    for words in ("stage1 net --seed 0", "stage2 flow --seed 0", "distill regression --seed 0"):
        assert main(words.split()) == 0
    assert all(path.read_bytes() == content for path, content in before.items())


def test_lineage_reaches_from_the_score_to_the_data(finished: Path) -> None:
    path = finished / "results/evaluate/regression-s0/details/evaluation.json"
    lineage = json.loads(path.read_text())["lineage"]
    assert list(lineage) == ["distill", "evaluate", "stage1", "stage2", "teacher"]
    record = json.loads(path.with_name("provenance.json").read_text())
    stages = [item["stage"] for item in record["upstream"]]
    assert stages == ["stage1", "stage2", "teacher", "distill"] or set(stages) == {
        "stage1", "stage2", "distill", "teacher",
    }  # fmt: skip
    assert all(item["seconds"] >= 0 for item in record["upstream"])


def remove(name: str) -> Callable[[Path], None]:
    def act(root: Path) -> None:
        target = root / name
        shutil.rmtree(target) if target.is_dir() else target.unlink()

    return act


def write(name: str, content: str) -> Callable[[Path], None]:
    return lambda root: (root / name).write_text(content) and None


def edit(old: str, new: str) -> Callable[[Path], None]:
    def act(root: Path) -> None:
        assert old in PARAMS
        (root / "params.yaml").write_text(PARAMS.replace(old, new))

    return act


def cut(name: str) -> Callable[[Path], None]:
    def act(root: Path) -> None:
        path = root / name
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])

    return act


def swap(name: str, other: str) -> Callable[[Path], None]:
    return lambda root: shutil.copy(root / other, root / name) and None


BAD = {
    "no seed given": ("stage1 net", None, "--seed must be one of params.yaml's seeds (0, 1)"),
    "unknown seed": ("stage1 net --seed 7", None, "seeds (0, 1), got 7"),
    "unknown node": ("stage1 nett --seed 0", None, "did you mean 'net'?"),
    "no params.yaml": ("stage1 net --seed 0", remove("params.yaml"), "cannot be read"),
    "bad setting": (
        "stage1 net --seed 0",
        edit("{width: 8, layers: 1, heads: 2}", "{widht: 8}"),
        "params.yaml:13: stage1.net.backbone.widht: unknown key; did you mean 'width'?",
    ),
    "heads do not divide the width": (
        "stage1 net --seed 0",
        edit("{width: 8, layers: 1", "{width: 9, layers: 1"),
        "heads must divide width",
    ),
    "no raw data": ("preprocess brook", remove("data/raw/brook"), "`dvc repro preprocess@brook`"),
    "no processed data": ("stage1 net --seed 0", remove("data/processed/brook"), "is missing"),
    "no stage 1": ("stage2 flow --seed 0", remove("results/stage1/net-s0"), "is missing"),
    "no teacher": ("distill energy --seed 0", remove("results/teacher/both-s0"), "is missing"),
    "no student": ("evaluate regression --seed 0", remove("results/distill"), "is missing"),
    "no evaluations": ("report index", remove("results/evaluate"), "is missing"),
    "evaluations emptied": (
        "report index",
        lambda root: (
            [shutil.rmtree(path) for path in (root / "results/evaluate").iterdir()] and None
        ),
        "no evaluation to report",
    ),
    "weights cut short": (
        "stage2 flow --seed 0",
        cut("results/stage1/net-s0/model.safetensors"),
        "is damaged",
    ),
    "weights of another model": (
        "evaluate flow --seed 0",
        swap("results/stage2/flow-s0/model.safetensors", "results/stage1/net-s0/model.safetensors"),
        "holds the weights of another model",
    ),
    "weights missing": (
        "stage2 flow --seed 0",
        remove("results/stage1/net-s0/model.safetensors"),
        "cannot be read",
    ),
    "card is no JSON": (
        "evaluate net --seed 0",
        write("results/stage1/net-s0/config.json", "{"),
        "is damaged",
    ),
    "card lacks a field": (
        "evaluate net --seed 0",
        write("results/stage1/net-s0/config.json", "{}"),
        "is damaged",
    ),
    "samples cut short": (
        "distill regression --seed 0",
        cut("results/teacher/flow-s0/output.npy"),
        "is no whole teacher folder",
    ),
    "series cut short": (
        "stage1 net --seed 0",
        cut("data/processed/brook/series.parquet"),
        "rerun weir preprocess",
    ),
    "schema is no JSON": (
        "stage1 net --seed 0",
        write("data/processed/brook/schema.json", "{"),
        "is damaged",
    ),
    "evaluation is no JSON": (
        "report index",
        write("results/evaluate/net-s0/details/evaluation.json", "{"),
        "damaged evaluation",
    ),
    "more draws than stored": (
        "distill regression --seed 0",
        edit("regression: {teacher: flow, draws: 2", "regression: {teacher: flow, draws: 9"),
        "the teacher stored 2",
    ),
    "a cycle longer than the history": (
        "baseline naive",
        lambda root: (
            (root / "data/processed/brook/schema.json").write_text(
                (root / "data/processed/brook/schema.json")
                .read_text()
                .replace('"cycle": 6', '"cycle": 24')
            )
            and None
        ),
        "does not fit into a lookback of 12",
    ),
    "knots wanted, none stored": (
        "distill energy --seed 0",
        edit("draws: 2, method: energy", "draws: 2, method: endpoint"),
        "needs stored knots",
    ),
    "file in the place of a folder": (
        "stage1 net --seed 0",
        lambda root: (shutil.rmtree(root / "results"), (root / "results").write_text("")),
        "cannot be written to",
    ),
    "oracle of real data": (
        "baseline oracle",
        remove("data/processed/brook/truth.json"),
        "known only for a simulated dataset",
    ),
    "devices that are not there": (
        "stage1 net --seed 0",
        lambda _: os.environ.update(WEIR_ACCELERATOR="gpu") or None,
        "no GPU is visible",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_gets_one_line_and_changes_nothing(
    place: Path, case: str, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    words, damage, expected = BAD[case]
    monkeypatch.setenv("WEIR_ACCELERATOR", "auto")
    if damage is not None:
        damage(place)
    before = sorted(path for path in place.rglob("*") if ".weir" not in path.parts)
    capfd.readouterr()
    code = main(words.split())
    lines = capfd.readouterr().err.splitlines()
    assert code == 2, lines
    assert len(lines) == 1 and lines[0].startswith("weir: "), lines
    assert expected in lines[0]
    after = sorted(path for path in place.rglob("*") if ".weir" not in path.parts)
    assert after == before


def test_load_says_what_is_no_model(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cannot be read"):
        package.load(tmp_path)


def test_a_full_disk_leaves_nothing_behind(place: Path, capfd) -> None:
    import resource

    shutil.rmtree(place / "results" / "stage1")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    import signal

    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2000, hard))
    try:
        code = main(["stage1", "net", "--seed", "0"])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, before)
    lines = capfd.readouterr().err.splitlines()
    assert code in (1, 2) and "too large" in lines[-1], lines
    assert not list((place / "results" / "stage1").iterdir())


def test_a_teacher_that_was_killed_goes_on_where_it_was(place: Path, monkeypatch) -> None:
    import weir.stages.teacher as teacher

    whole = np.load(place / "results/teacher/flow-s0/output.npy")
    shutil.rmtree(place / "results/teacher/flow-s0")
    sampled: list[int] = []
    real = teacher.sample_pairs

    def few(*arguments, **settings):
        for number, pairs in enumerate(real(*arguments, **settings, chunk=200)):
            sampled.extend(pairs.items.tolist())
            yield pairs
            if number == 1 and len(sampled) < 20:
                raise KeyboardInterrupt

    monkeypatch.setattr(teacher, "sample_pairs", few)
    assert main(["teacher", "flow", "--seed", "0"]) == 130
    assert not (place / "results/teacher/flow-s0").exists()
    assert 0 < len(sampled) < 20
    while main(["teacher", "flow", "--seed", "0"]) != 0:
        pass
    assert len(sampled) == 20 == len(set(sampled))
    np.testing.assert_allclose(
        np.load(place / "results/teacher/flow-s0/output.npy"), whole, rtol=0, atol=1e-5
    )
