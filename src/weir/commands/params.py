"""`weir params`: presets, and what the current settings are."""

from __future__ import annotations

import argparse
import subprocess
from pathlib import Path

from weir.errors import UserError, suggest
from weir.files import write_atomically
from weir.pipeline.layout import Layout, find_root
from weir.pipeline.params.graph import load_params
from weir.pipeline.params.yaml_file import read_yaml
from weir.pipeline.plan import plan_of
from weir.pipeline.runs import runs
from weir.settings.base import flatten
from weir.stage_table import SECTIONS


def run(options: argparse.Namespace) -> None:
    """Dispatch to the action of the command line."""
    layout = Layout(find_root())
    current = options.params or layout.params
    match options.command:
        case "use":
            use(options.preset, current, layout, force=options.force)
        case "list":
            for path in presets(layout):
                first = path.read_text(encoding="utf-8").splitlines()
                about = next(
                    (line[2:] for line in first if line.startswith("# ") and "$" not in line), ""
                )
                print(f"{path.stem:16} {about}")
        case "show":
            show(current, options.node)
        case "diff":
            diff(current, _preset_or_file(options.other, layout))
        case "schema":
            from weir.commands.reference import write_reference

            for path in write_reference(layout.root, check=options.check):
                state = "up to date" if options.check else "written"
                print(f"{path.relative_to(layout.root)}: {state}")


def presets(layout: Layout) -> list[Path]:
    """The presets of config/."""
    return sorted((layout.root / "config").glob("*.yaml"))


def use(name: str, current: Path, layout: Layout, *, force: bool) -> None:
    """Replace params.yaml by a preset.

    Raises:
        UserError: unknown preset, or uncommitted edits would be lost.
    """
    preset = _preset_or_file(name, layout)
    load_params(preset)
    known = {path.read_bytes() for path in presets(layout)}
    if current.exists() and not force and current.read_bytes() not in known:
        changed = subprocess.run(
            ["git", "-C", str(layout.root), "status", "--porcelain", "--", str(current)],
            capture_output=True,
            text=True,
        )
        if changed.returncode or changed.stdout.strip():
            raise UserError(
                f"{current.name}: has uncommitted edits; commit them, or pass --force to lose them"
            )
    write_atomically(current, preset.read_text(encoding="utf-8"))
    plan_of(current, layout)
    print(f"{current.name} is now the preset {preset.stem}")


def show(current: Path, ref: str | None) -> None:
    """Print the graph of nodes, or every setting of one node with its defaults."""
    params = load_params(current)
    if ref:
        section, _, name = ref.partition("/")
        if section not in SECTIONS:
            raise UserError(f"{ref}: write a node as section/name; {suggest(section, SECTIONS)}")
        for key, value in flatten(
            params.node(section, name).config.model_dump(mode="json")
        ).items():
            print(f"{key}: {value}")
        return
    print(f"seeds: {', '.join(map(str, params.seeds))}   runs: {len(runs(params))}")
    for section in SECTIONS:
        for node in params.section(section):
            above = (
                ", ".join(node.upstream)
                if section != "report"
                else f"{len(node.upstream)} evaluations"
            )
            folds = f"{len(node.folds)} folds" if section == "datasets" and node.folds else ""
            print(
                f"{section:10} {node.name:28} {node.task:10} "
                f"{'<- ' + above if above else folds}".rstrip()
            )


def diff(current: Path, other: Path) -> None:
    """Print the settings in which two files differ."""
    load_params(current), load_params(other)
    mine, theirs = flatten(read_yaml(current)), flatten(read_yaml(other))
    for key in dict.fromkeys([*mine, *theirs]):
        if mine.get(key, ...) != theirs.get(key, ...):
            left, right = (side.get(key, "-") for side in (mine, theirs))
            print(f"{key}: {left} -> {right}")


def _preset_or_file(name: str, layout: Layout) -> Path:
    path = layout.root / "config" / f"{name}.yaml"
    if path.is_file():
        return path
    if name.endswith((".yaml", ".yml")) and Path(name).is_file():
        return Path(name)
    raise UserError(
        f"config/{name}.yaml: no such preset; "
        f"{suggest(name, [item.stem for item in presets(layout)])}"
    )
