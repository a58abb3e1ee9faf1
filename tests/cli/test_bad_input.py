"""What stages say of bad input: one line, exit code 2, nothing changed."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from chain import PARAMS

from weir.cli import main


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
    "a fold of none": ("stage1 net --seed 0 --fold 1", None, "leave out --fold 1"),
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
        "entry section is missing",
    ),
    "samples cut short": (
        "distill regression --seed 0",
        cut("results/teacher/flow-s0/output.npy"),
        "output.npy is damaged",
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
