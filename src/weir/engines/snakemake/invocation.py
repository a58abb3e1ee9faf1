"""One invocation of `snakemake`: what its main process does before, at the start and at the end."""

from __future__ import annotations

import os
import re
import shutil
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from weir.engines.dvc.stages import Stages
from weir.engines.fork import client as warm
from weir.engines.slurm import queue as slurm
from weir.engines.snakemake import lock as head
from weir.errors import UserError

if TYPE_CHECKING:
    import subprocess

TAIL = 20
"""Lines of a failed job's log that are shown."""
WORTH_A_SERVER = 5
"""Jobs to run for which it pays to import what they need once (`warm`)."""

_servers: list[subprocess.Popen[bytes] | None] = []


def begin(root: Path, config: Mapping[str, Any], *, main: bool) -> Stages:
    """The stages to schedule: compiled from params.yaml and judged by DVC in the main process, as
    that left them in a job's.

    Raises:
        UserError: bad params.yaml, settings on the command line, or a busy DVC.
    """
    if not main:
        return Stages.read(root)
    if not (root / "dvc.yaml").is_file():
        raise UserError(f"{root}: no dvc.yaml here; run snakemake from the repository root")
    if config:
        keys = ", ".join(config)
        raise UserError(f"--config {keys}: DVC would not see it; edit params.yaml instead")
    if not head.schedules(sys.argv[1:]):
        return _look(root)
    if held := head.other(root):
        note(held)  # Snakemake refuses, unless the two share no file
    else:
        slurm.await_earlier(root, note)
    return _plan(root)


def _plan(root: Path) -> Stages:
    # Not above: a job on a cluster imports this module twice, and needs none of them.
    from weir.engines.dvc.verdict import ask_dvc
    from weir.pipeline.layout import Layout
    from weir.pipeline.plan import plan_of

    layout = Layout(root)
    plan_of(layout.params, layout)
    stages = ask_dvc(root, note)
    stages.write(root)
    return stages


def _look(root: Path) -> Stages:
    """The same for who only looks: plan and hashes of code are compiled, and not written."""
    from weir.engines.dvc.verdict import ask_dvc
    from weir.pipeline.code import code_text
    from weir.pipeline.layout import Layout
    from weir.pipeline.params.graph import load_params
    from weir.pipeline.plan import plan_files

    layout = Layout(root)
    files = plan_files(load_params(layout.params), layout)
    return ask_dvc(root, note, files | {layout.code: code_text(files[layout.plan], layout)})


def has_gpu() -> bool:
    """Whether this machine has an NVIDIA GPU."""
    return any(Path("/dev").glob("nvidia[0-9]*"))


def started(stages: Stages, root: Path, *, local: bool) -> None:
    """Before the first job: announce one parent run in MLflow for all of them.

    Args:
        local: jobs run on this machine; if there are several, they are forks of one process.
    """
    from weir.tracking.invocation import VARIABLE, open_invocation

    command = " ".join(["snakemake", *sys.argv[1:]])
    os.environ[VARIABLE] = open_invocation(root, command[:200])
    head.claim(root)
    if not local and shutil.which("squeue"):
        slurm.watch(root, note)
        slurm.poll_in_proportion()
    if local and len(stages.affected()) >= WORTH_A_SERVER:
        _servers.append(warm.start())


def succeeded(stages: Stages, root: Path) -> None:
    """Say where the reports are."""
    _stop_servers()
    _close(root, "FINISHED")
    for report in stages.outputs("report"):
        if (root / report).exists():
            note(f"report: {report}")


def failed(stages: Stages, root: Path, log: str | Iterable[str], *, tails: bool) -> None:
    """Say which jobs failed and where their logs are.

    Args:
        log: Snakemake's own log of this invocation.
        tails: whether to show the end of each log; on a cluster nobody has seen it yet.
    """
    _stop_servers()
    _close(root, "FAILED")
    files = [log] if isinstance(log, str) else log
    text = "\n".join(Path(file).read_text(encoding="utf-8", errors="replace") for file in files)
    jobs = re.findall(r"^ +log: .*?\b(logs/([\w/-]+)\.log)\b.*check log file", text, re.MULTILINE)
    for path, name in dict.fromkeys(jobs):
        stage = stages.stages.get(name.replace("/", "@"))
        if stage and all((root / output).exists() for output in stage.outputs):
            continue  # a later attempt succeeded
        lines = _lines(root / path)
        said = [line for line in lines if line.startswith("weir: ")]
        note(f"failed: {name.replace('/', '@')}: {path}" + (f": {said[-1]}" if said else ""))
        if tails:
            print(*(f"    {line}" for line in lines[-TAIL:]), sep="\n", file=sys.stderr)


def note(line: str) -> None:
    """One line to the user, beside Snakemake's own."""
    print(f"weir: {line}", file=sys.stderr, flush=True)


def _stop_servers() -> None:
    while _servers:
        warm.stop(_servers.pop())


def _close(root: Path, status: str) -> None:
    from weir.tracking.invocation import VARIABLE, close_invocation

    if token := os.environ.get(VARIABLE):
        close_invocation(root, token, status)


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return []
