"""`weir clean`: what no node of params.yaml names, listed or removed."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from weir.engines.dvc import leftovers as dvc
from weir.engines.leftovers import being_written, leftovers, outputs
from weir.engines.snakemake import lock
from weir.errors import UserError
from weir.files import remove
from weir.pipeline.layout import Layout, find_root
from weir.pipeline.params.graph import load_params
from weir.pipeline.plan import compile_plan


def run(options: argparse.Namespace) -> None:
    """List what is left over, or remove it.

    Raises:
        UserError: something runs that might use it.
    """
    layout = Layout(find_root())
    layout.refuse_other(options.params)
    runs = compile_plan(load_params(layout.params), layout)["runs"]
    stages = {"plan", *(f"{stage}@{key}" for stage, entries in runs.items() for key in entries)}
    made = {"results/code.json", *outputs(runs, layout)}
    if options.remove:
        refuse_running(layout)
    folders = leftovers(runs, layout)
    kept = dvc.leftovers(layout.root, stages, made)
    for path in folders:
        print(f"{path.relative_to(layout.root)}  {amount(size(path))}")
    for name in kept.entries:
        print(f"dvc.lock: {name}")
    if kept.files:
        print(f".dvc/cache: {len(kept.files)} files  {amount(sum(map(size, kept.files)))}")
    if not (folders or kept.entries or kept.files):
        print("nothing is left over: every result is of a node in params.yaml")
    elif not options.remove:
        print("no node of params.yaml names these; `weir clean --remove` removes them")
    else:
        with dvc.at_rest(layout.root):
            if kept.entries:
                dvc.remove_entries(layout.root, kept.entries)
            for path in (*folders, *kept.files):
                remove(path)
        print("removed")


def refuse_running(layout: Layout) -> None:
    """Raise a UserError if a run is in progress."""
    if held := lock.other(layout.root):
        raise UserError(held)
    if busy := being_written(layout):
        where = busy[0].relative_to(layout.root)
        raise UserError(f"{where}: a stage is writing here; wait until it ends")


def size(path: Path) -> int:
    """Bytes of a file, or of all files in a folder; links are not followed."""
    if path.is_symlink() or not path.is_dir():
        return path.lstat().st_size
    return sum(
        os.lstat(os.path.join(folder, name)).st_size
        for folder, _, names in os.walk(path)
        for name in names
    )


def amount(number: int) -> str:
    """Bytes in words: `1.2 MB`.

    >>> amount(1_234_567)
    '1.2 MB'
    """
    value, unit = float(number), "B"
    for unit in ("B", "kB", "MB", "GB"):
        if value < 1000 or unit == "GB":
            break
        value /= 1000
    return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"
