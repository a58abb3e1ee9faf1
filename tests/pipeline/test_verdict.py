"""Snakemake plans what DVC says is stale and what lies below it: nothing else, and nothing less.

Each circumstance is put to both: what `dvc status` names must be what is expected, and what
`snakemake -n` plans must be its closure under "reads an output of".
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import zc.lockfile
from checkout import STAGES, STUDENT, Checkout

from weir.engines.dvc import verdict
from weir.errors import UserError

pytestmark = pytest.mark.pipeline

BELOW = {
    "fetch@river": {"preprocess@river"},
    "preprocess@river": {"stage1@net-s0", "baseline@naive"},
    "stage1@net-s0": {"stage2@flow-s0"},
    "stage2@flow-s0": {"teacher@flow-s0"},
    "teacher@flow-s0": {"distill@student-s0"},
    "distill@student-s0": {"evaluate@student-s0"},
    "baseline@naive": {"evaluate@naive"},
    "evaluate@student-s0": {"report@all"},
    "evaluate@naive": {"report@all"},
}


def closure(stale: set[str]) -> set[str]:
    """The stages and all that read, at any distance, what they write."""
    found, frontier = set(stale), list(stale)
    while frontier:
        new = BELOW.get(frontier.pop(), set()) - found
        found |= new
        frontier += new
    return found


def touch_everything(checkout: Checkout) -> None:
    for folder, time in (("data", 3e9), ("results", 1e9), ("src", 3e9)):
        for path in [checkout.root / folder, *(checkout.root / folder).rglob("*")]:
            os.utime(path, (time, time))


def forget_what_snakemake_knew(checkout: Checkout) -> None:
    for name in (".snakemake", ".weir", "logs"):
        shutil.rmtree(checkout.root / name)
    for stamp in checkout.root.rglob(".snakemake_timestamp"):
        stamp.unlink()


def reorder_and_comment(checkout: Checkout) -> None:
    path = checkout.root / "params.yaml"
    head, sections = path.read_text().split("stage1:\n", 1)
    section, rest = sections.split("stage2:\n", 1)
    reordered = "\n".join(
        line for part in section.strip("\n").split("\n    ")[1:] for line in ["    " + part]
    )
    lines = reordered.splitlines()[::-1]
    path.write_text(
        f"{head}# A remark.\nstage2:\n{rest}stage1:\n  net: # another\n" + "\n".join(lines) + "\n"
    )


def change_a_parameter(checkout: Checkout) -> None:
    checkout.edit("params.yaml", "learning_rate: 1.0e-3", "learning_rate: 2.0e-3")


def spell_a_parameter_otherwise(checkout: Checkout) -> None:
    checkout.edit("params.yaml", "learning_rate: 1.0e-3", "learning_rate: 0.001")


def edit_the_teacher(checkout: Checkout) -> None:
    close = "    progress.close()\n"
    checkout.edit("src/weir/stages/teacher.py", close, f"{close}    del conditions\n")


def comment_the_teacher(checkout: Checkout) -> None:
    path = checkout.root / "src/weir/stages/teacher.py"
    path.write_text(path.read_text() + "\n# A remark.\n")


def delete_an_output(checkout: Checkout) -> None:
    shutil.rmtree(checkout.root / "results/stage2/flow-s0")


def delete_a_curve(checkout: Checkout) -> None:
    (checkout.root / "results/evaluate/naive/curve.csv").unlink()


def overwrite_an_output(checkout: Checkout) -> None:
    path = checkout.root / "results/distill/student-s0/config.json"
    path.unlink()
    path.write_text("{}")


def return_to_the_first_commit(checkout: Checkout) -> None:
    checkout.run("git", "checkout", "--quiet", "HEAD~1")


def change_a_command(checkout: Checkout) -> None:
    checkout.edit("dvc.yaml", "report ${item.arguments}", "report  ${item.arguments}")


def empty_the_cache(checkout: Checkout) -> None:
    shutil.rmtree(checkout.root / ".dvc/cache")


CIRCUMSTANCES: dict[Callable[[Checkout], None], set[str]] = {
    touch_everything: set(),
    forget_what_snakemake_knew: set(),
    reorder_and_comment: set(),
    spell_a_parameter_otherwise: set(),
    change_a_parameter: {"distill@student-s0"},
    edit_the_teacher: {"teacher@flow-s0"},
    comment_the_teacher: set(),
    delete_an_output: {"stage2@flow-s0", "teacher@flow-s0", "distill@student-s0"},
    delete_a_curve: {"evaluate@naive", "report@all"},
    overwrite_an_output: {"distill@student-s0", "evaluate@student-s0"},
    return_to_the_first_commit: STAGES,
    change_a_command: {"report@all"},
    empty_the_cache: STAGES,
}


@pytest.mark.parametrize("change", CIRCUMSTANCES, ids=lambda change: change.__name__)
def test_the_plan_is_what_dvc_says(checkout: Checkout, change: Callable) -> None:
    change(checkout)
    planned = checkout.planned()
    assert checkout.stale() == CIRCUMSTANCES[change]
    assert planned == closure(CIRCUMSTANCES[change])


def test_a_stage_that_another_dvc_writes_is_named(checkout: Checkout) -> None:
    writer = {"pid": os.getpid(), "cmd": "dvc repro"}
    rwlock = {"write": {str(checkout.root / "results/distill/student-s0"): writer}}
    (checkout.root / ".dvc/tmp").mkdir(exist_ok=True)
    (checkout.root / ".dvc/tmp/rwlock").write_text(json.dumps(rwlock))
    assert "busy" in checkout.dvc("status", ok=False)
    text = checkout.snakemake("-n")
    assert "distill@student-s0, evaluate@student-s0: in use by another dvc command" in text
    assert checkout.planned() == STUDENT


def test_what_a_running_stage_has_begun_to_write_is_left_alone(checkout: Checkout) -> None:
    begun = checkout.root / "results/evaluate/.student-s0.part-abc/metrics.json"
    begun.parent.mkdir()
    begun.write_text("{")
    assert checkout.planned() == set()
    assert checkout.stale() == set()
    assert begun.exists()


def test_a_held_lock_is_one_line(
    checkout: Checkout, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(verdict, "LOCK_ATTEMPTS", 1)
    (checkout.root / ".dvc/tmp").mkdir(exist_ok=True)
    lock = zc.lockfile.LockFile(str(checkout.root / ".dvc/tmp/lock"))
    try:
        with pytest.raises(UserError, match=r"\.dvc/tmp/lock: held by another dvc command"):
            verdict.ask_dvc(checkout.root)
    finally:
        lock.close()
    assert "waiting for another dvc command" in capsys.readouterr().out


def test_a_dry_run_reads_but_does_not_hash_again(checkout: Checkout) -> None:
    """Only `.snakemake_timestamp` is touched in folders, so DVC's known hashes stay valid."""
    touch_everything(checkout)
    before = _times(checkout.root / "results")
    checkout.planned()
    assert _times(checkout.root / "results") == before


def _times(folder: Path) -> dict[Path, int]:
    return {
        path: path.stat().st_mtime_ns
        for path in folder.rglob("*")
        if path.is_file() and path.name != ".snakemake_timestamp" and "stage" in str(path)
    }
