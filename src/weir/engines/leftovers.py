"""What runs of nodes that are no more have left: results, data, provenance, logs, checkpoints."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from weir.artifacts.provenance import FOLDER
from weir.artifacts.raw_folder import SOURCE
from weir.files import is_being_written
from weir.pipeline.layout import Layout
from weir.stage_table import STAGES

Runs = Mapping[str, Mapping[str, Any]]
"""`runs` of a plan: by stage, by key."""


def outputs(runs: Runs, layout: Layout) -> set[str]:
    """Outputs of all runs of a plan, relative to the root."""
    return {layout.output(stage, key) for stage in STAGES for key in runs[stage]}


def leftovers(runs: Runs, layout: Layout) -> list[Path]:
    """Files and folders of Weir that no run of a plan makes or uses.

    Only what Weir has made is among them, and nothing that lies outside of the repository because a
    folder above it is a link.
    """
    root = layout.root.resolve()
    found = dict.fromkeys((*_outputs(runs, layout), *_beside(runs, layout)))
    return [path for path in found if path.parent.resolve().is_relative_to(root)]


def being_written(layout: Layout) -> list[Path]:
    """Temporary folders of outputs that a living process writes."""
    return [folder for folder in _temporary(layout) if is_being_written(folder)]


def _outputs(runs: Runs, layout: Layout) -> Iterator[Path]:
    wanted = outputs(runs, layout)
    for stage in STAGES:
        place = layout.root / layout.output(stage, "any")
        for path in _sorted(place.parent, f"*{place.suffix}"):
            made = stage != "fetch" or (path / SOURCE).exists()
            hidden = path.name.startswith(".")
            if made and not hidden and path.relative_to(layout.root).as_posix() not in wanted:
                yield path
    yield from (folder for folder in _temporary(layout) if not is_being_written(folder))


def _temporary(layout: Layout) -> Iterator[Path]:
    for parent in sorted({(layout.root / layout.output(stage, "any")).parent for stage in STAGES}):
        yield from _sorted(parent, ".*.part-*")


def _beside(runs: Runs, layout: Layout) -> Iterator[Path]:
    """What is kept of runs outside of their outputs."""
    for stage in STAGES.values():
        keys = runs[stage.name].keys()
        for path in _sorted(layout.root / FOLDER / stage.name, "*"):
            if path.name not in keys:
                yield path
        for path in _sorted(layout.root / "logs" / stage.name, "*"):
            if path.suffix in (".log", ".tsv") and path.stem not in keys:
                yield path
    for section in {stage.section for stage in STAGES.values()}:
        known = {
            key for stage in STAGES.values() if stage.section == section for key in runs[stage.name]
        }
        for path in _sorted(layout.work / "checkpoints" / section, "*"):
            if path.name not in known:
                yield path


def _sorted(folder: Path, pattern: str) -> list[Path]:
    return sorted(folder.glob(pattern)) if folder.is_dir() else []
