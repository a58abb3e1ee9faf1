"""`weir clean` lists what no node names, and removes that, nothing else, when asked to."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
from pathlib import Path

import pytest

from weir.artifacts.provenance import FOLDER
from weir.cli import main

GONE = (
    "data/raw/gone",
    "data/processed/gone",
    "results/stage2/gone-s0",
    "results/evaluate/gone-s0",
    f"{FOLDER}/stage2/gone-s0",
    ".weir/checkpoints/stage2/gone-s0",
    "results/stage1/.net-s0.part-abc",
)
FILES = ("results/report/gone.html", "logs/stage2/gone-s0.log", "logs/stage2/gone-s0.tsv")
OTHERS = ("data/raw/of-mine/notes.txt", "logs/slurm/1.log", "results/notes.txt")
"""What Weir has not made."""


@pytest.fixture
def littered(place: Path) -> Path:
    """The finished repository with what a removed node has left."""
    for name in GONE:
        (place / name).mkdir(parents=True)
        (place / name / "source.json").write_text("{}")
    for name in (*FILES, *OTHERS):
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        (place / name).write_text("x")
    # By hand, nothing of DVC is there.
    for name in (".dvc", ".dvc/tmp"):
        (place / name).mkdir()
    (place / ".dvc/config").write_text("[core]\n    no_scm = true\n")
    (place / "dvc.yaml").write_text("stages: {}\n")
    return place


def contents(root: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(root)): path.read_bytes()
        for path in root.rglob("*")
        if path.is_file() and ".dvc/" not in str(path)
    }


def test_what_is_left_over_is_listed_and_stays(littered: Path, capfd) -> None:
    before = contents(littered)
    assert main(["clean"]) == 0
    listed = {line.split("  ")[0] for line in capfd.readouterr().out.splitlines()[:-1]}
    assert listed == {*map(str, GONE), *FILES}
    assert contents(littered) == before


def test_only_what_is_left_over_is_removed(littered: Path, capfd) -> None:
    kept = {
        name: text
        for name, text in contents(littered).items()
        if not name.startswith((*map(str, GONE), *FILES))
    }
    assert main(["clean", "--remove"]) == 0
    assert contents(littered) == kept
    assert set(OTHERS) <= kept.keys()
    capfd.readouterr()
    assert main(["clean"]) == 0
    assert capfd.readouterr().out.startswith("nothing is left over")


def test_nothing_outside_of_the_repository_is_touched(littered: Path, tmp_path: Path) -> None:
    outside = tmp_path / "scratch"
    shutil.move(littered / "results/stage2", outside)
    (littered / "results/stage2").symlink_to(outside)
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere/kept").write_text("x")
    (littered / "results/evaluate/link-s0").symlink_to(tmp_path / "elsewhere")
    assert main(["clean", "--remove"]) == 0
    assert (outside / "gone-s0").exists()
    assert (tmp_path / "elsewhere/kept").exists()
    assert not os.path.lexists(littered / "results/evaluate/link-s0")


def test_while_something_runs_nothing_is_removed(littered: Path, capfd) -> None:
    before = contents(littered)
    handle = os.open(littered / "results/stage1/.net-s0.part-abc", os.O_RDONLY)
    fcntl.flock(handle, fcntl.LOCK_EX)
    assert main(["clean", "--remove"]) == 2
    os.close(handle)
    assert "a stage is writing here" in capfd.readouterr().err
    lock = littered / ".snakemake/locks/0.input.lock"
    lock.parent.mkdir(parents=True)
    lock.touch()
    assert main(["clean", "--remove"]) == 2
    assert "another snakemake works here" in capfd.readouterr().err
    shutil.rmtree(littered / ".snakemake")
    assert contents(littered) == before


def test_scores_are_written_by_their_command_alone(place: Path, capfd) -> None:
    params = place / "params.yaml"
    text = params.read_text().replace("{title: Tiny}", "{title: Tiny, scores: tiny}")
    params.write_text(text.replace("seeds: [0, 1]", "seeds: [0]"))
    assert main(["report", "index"]) == 0
    assert not (place / "docs").exists()
    assert main(["scores", "update"]) == 0
    (file,) = (place / "docs/scores").iterdir()
    document = json.loads(file.read_text())
    assert file.name == "tiny.json" and document["wall_s"] > 0
    assert document["command"].endswith("snakemake --cores all && weir scores update")
    assert main(["scores", "update", "--check"]) == 0

    shutil.rmtree(place / FOLDER)  # as in a clone: when and where is not known, the scores are
    assert main(["scores", "update", "--check"]) == 0
    assert main(["scores", "update"]) == 0
    again = json.loads(file.read_text())
    assert again["models"] == document["models"] and again["wall_s"] is None

    file.write_text(file.read_text().replace('"nfe": 1,', '"nfe": 3,'))
    assert main(["scores", "update", "--check"]) == 2
    assert "docs/scores/tiny.json: says something else" in capfd.readouterr().err
    shutil.rmtree(place / "results/evaluate/naive")
    assert main(["scores", "update"]) == 2
    assert "results/evaluate/naive: is missing" in capfd.readouterr().err


@pytest.mark.parametrize("name", ["../../x", "/x", "a/b"])
def test_scores_stay_in_their_folder(place: Path, name: str, capfd) -> None:
    params = place / "params.yaml"
    text = params.read_text()
    params.write_text(text.replace("{title: Tiny}", f"{{title: Tiny, scores: {name}}}"))
    before = contents(place)
    for words in (["scores", "update"], ["report", "index"], ["plan"]):
        assert main(words) == 2
        (line,) = capfd.readouterr().err.splitlines()
        assert "report.index.scores" in line
    assert contents(place) == before
