"""Every stage, run by hand on a tiny series. The chain is run once; tests work on copies."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

import weir as package
from weir.artifacts.provenance import read_record
from weir.cli import main
from weir.errors import UserError

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
        ".safetensors", ".json", ".csv", ".npy", ".parquet", ".yaml", ".html", ".svg", ".js", "",
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
    }
    for words in ("stage1 net --seed 0", "stage2 flow --seed 0", "distill regression --seed 0"):
        assert main(words.split()) == 0
    assert all(path.read_bytes() == content for path, content in before.items())


def test_lineage_reaches_from_the_score_to_the_data(finished: Path) -> None:
    path = finished / "results/evaluate/regression-s0/details/evaluation.json"
    lineage = json.loads(path.read_text())["lineage"]
    assert list(lineage) == ["distill", "evaluate", "stage1", "stage2", "teacher"]
    record = read_record(finished, path.parent.parent)
    stages = [item["stage"] for item in record["upstream"]]
    assert stages == ["stage1", "stage2", "teacher", "distill"] or set(stages) == {
        "stage1", "stage2", "distill", "teacher",
    }  # fmt: skip
    assert all(item["seconds"] >= 0 for item in record["upstream"])


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
