"""`weir doctor`: what is installed and reachable, and how to fix what is not."""

from __future__ import annotations

import argparse
import os
import platform
import shutil
import subprocess
from collections.abc import Callable, Iterator
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path

from rich.console import Console

from weir.commands.doctor_storage import Finding, check_storage
from weir.errors import WeirError
from weir.pipeline.layout import Layout, find_root
from weir.pipeline.params.graph import load_params

PACKAGES = (
    "torch",
    "lightning-fabric",
    "snakemake",
    "dvc",
    "mlflow",
    "numpy",
    "pandas",
    "pyarrow",
    "scanpy",
)


def run(options: argparse.Namespace) -> int:
    """Print every finding; exit code 2 if something must be fixed."""
    layout = Layout(find_root())
    params = options.params or layout.root / "params.yaml"
    console = Console(highlight=False, soft_wrap=True)
    marks = {"ok": "[green]ok  [/]", "note": "[yellow]note[/]", "bad": "[red]bad [/]"}
    bad = 0
    for title, check in checks(layout, params):
        for finding in _guarded(check):
            bad += finding.state == "bad"
            console.print(f"{marks[finding.state]} {title:10} ", end="")
            console.print(finding.text, markup=False)
    return 2 if bad else 0


def checks(layout: Layout, params: Path) -> Iterator[tuple[str, Callable[[], Iterator[Finding]]]]:
    """Every check with its title."""
    yield "python", _python
    yield "packages", _packages
    yield "gpu", _gpu
    yield "params", lambda: _params(params)
    yield "git", lambda: _git(layout)
    yield "dvc", lambda: check_storage(layout.root)
    yield "slurm", _slurm
    yield "tracking", lambda: _tracking(layout)
    yield "mirror", _mirror
    yield "disk", lambda: _disk(layout)


def _guarded(check: Callable[[], Iterator[Finding]]) -> Iterator[Finding]:
    try:
        yield from check()
    except WeirError as error:
        yield Finding("bad", str(error))


def _python() -> Iterator[Finding]:
    good = platform.python_version_tuple()[:2] == ("3", "11")
    advice = "" if good else "; Weir is tested on 3.11: make the environment again with it"
    yield Finding("ok" if good else "bad", platform.python_version() + advice)


def _packages() -> Iterator[Finding]:
    missing = []
    for requirement in requires("weir") or []:
        name = requirement.split("=")[0].split(";")[0].strip()
        try:
            version(name)
        except PackageNotFoundError:
            missing.append(name)
    if missing:
        yield Finding("bad", f"missing {', '.join(missing)}; run `make setup`")
    yield Finding(
        "ok", ", ".join(f"{name} {version(name)}" for name in PACKAGES if name not in missing)
    )


def _gpu() -> Iterator[Finding]:
    import torch

    if torch.cuda.is_available():
        names = [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]
        yield Finding("ok", f"{len(names)} x {names[0]} (torch {torch.__version__})")
    elif shutil.which("nvidia-smi"):
        yield Finding(
            "bad",
            f"there is an NVIDIA driver, but torch {torch.__version__} does not see a GPU; install "
            "a CUDA build of torch 2.13.0",
        )
    else:
        cores = len(os.sched_getaffinity(0))
        yield Finding("note", f"none; training runs on {cores} CPU cores")


def _params(path: Path) -> Iterator[Finding]:
    params = load_params(path)
    yield Finding("ok", f"{path.name}: {len(params.nodes)} nodes, {len(params.seeds)} seed(s)")
    if unused := params.unused():
        yield Finding("note", f"no evaluation uses {', '.join(unused)}")


def _git(layout: Layout) -> Iterator[Finding]:
    found = subprocess.run(
        ["git", "-C", str(layout.root), "rev-parse", "--short", "HEAD"],
        capture_output=True,
        text=True,
    )
    if found.returncode:
        yield Finding("bad", "no commit; DVC and provenance need one: `git init`, then commit")
    else:
        yield Finding("ok", f"at commit {found.stdout.strip()}")


def _slurm() -> Iterator[Finding]:
    if not shutil.which("sbatch"):
        yield Finding("note", "no sbatch here; `snakemake --profile slurm` needs a login node")
        return
    found = subprocess.run(
        ["sinfo", "--noheader", "-o", "%P %a %D"], capture_output=True, text=True
    )
    if found.returncode:
        why = found.stderr.strip().splitlines()[-1:] or [f"exit code {found.returncode}"]
        yield Finding("note", f"no cluster answers ({why[0]}); jobs run on this machine alone")
    else:
        yield Finding("ok", "; ".join(found.stdout.split("\n")).strip("; "))


def _tracking(layout: Layout) -> Iterator[Finding]:
    from weir.tracking.server import shown_uri
    from weir.tracking.store import reachable, tracking_uri

    address = tracking_uri(layout.root)
    uri = shown_uri(address)
    if reachable(address):
        yield Finding("ok", uri)
    else:
        yield Finding(
            "bad",
            f"{uri} does not answer: start the server or fix MLFLOW_TRACKING_URI; until then runs "
            "are spooled and `weir tracking sync` replays them",
        )
    journals = (layout.work / "spool").glob("*/events.jsonl")
    if spooled := [file for file in journals if not file.parent.name.startswith("invocation-")]:
        yield Finding("note", f"{len(spooled)} spooled run(s); `weir tracking sync` replays them")


def _mirror() -> Iterator[Finding]:
    mirror = os.environ.get("WEIR_DATA_MIRROR")
    if not mirror:
        yield Finding("note", "WEIR_DATA_MIRROR is not set: raw data comes from its public URL")
    elif Path(mirror).is_dir():
        yield Finding("ok", mirror)
    else:
        yield Finding("bad", f"{mirror} is no folder; fix WEIR_DATA_MIRROR or unset it")


def _disk(layout: Layout) -> Iterator[Finding]:
    if not os.access(layout.root, os.W_OK):
        yield Finding("bad", f"{layout.root} cannot be written to; fix its permissions")
    free = shutil.disk_usage(layout.root).free / 2**30
    advice = "; free some space" if free < 2 else ""
    yield Finding("bad" if free < 2 else "ok", f"{free:.0f} GiB free{advice}")
