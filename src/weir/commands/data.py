"""`weir data add`: a user's file, described as a dataset node."""

from __future__ import annotations

import argparse
import io
import textwrap
from typing import TYPE_CHECKING

from ruamel.yaml import YAML

from weir.errors import UserError
from weir.files import write_atomically
from weir.pipeline.layout import Layout, find_root
from weir.pipeline.params.yaml_file import read_yaml
from weir.pipeline.plan import plan_of
from weir.tasks import TASKS, has_part, part

if TYPE_CHECKING:
    from weir.tasks.proposal import Proposal


def run(options: argparse.Namespace) -> None:
    """Print the node that describes a file, or add it to params.yaml."""
    layout = Layout(find_root())
    current = options.params or layout.params
    if options.task not in TASKS:
        raise UserError(f"--task {options.task}: no such task; known: {', '.join(TASKS)}")
    if not has_part(options.task, "preprocessing.describe"):
        raise UserError(
            f"--task {options.task}: does not describe files; write the node into {current.name}"
        )
    if options.name in (read_yaml(current).get("datasets") or {}):
        raise UserError(
            f"{current}: datasets has a node {options.name!r} already; choose another name"
        )
    proposal = part(options.task, "preprocessing.describe").describe(options.file)
    block = node_block(options.name, proposal)
    if not options.write:
        print(block, end="")
        print(f"# add these lines below `datasets:` in {current.name}, or pass --write")
        return
    if not proposal.usable:
        raise UserError(f"{options.file}: {proposal.notes[-1]}; nothing was written")
    before = current.read_text(encoding="utf-8")
    write_atomically(current, insert(before, block))
    try:
        plan_of(current, layout)
    except UserError:
        write_atomically(current, before)
        raise
    print(f"{current.name}: added datasets.{options.name}")


def node_block(name: str, proposal: Proposal) -> str:
    """The lines of a node below `datasets:`, its notes as comments above it."""
    text = io.StringIO()
    YAML().dump({name: proposal.node}, text)
    notes = "".join(f"  # {note}\n" for note in proposal.notes)
    return notes + textwrap.indent(text.getvalue(), "  ")


def insert(text: str, block: str) -> str:
    """`text` of a params.yaml with `block` (a node, indented by two) as the first dataset."""
    lines = text.splitlines(keepends=True)
    for number, line in enumerate(lines):
        if line.split("#")[0].strip() == "datasets:":
            return "".join([*lines[: number + 1], block, *lines[number + 1 :]])
        if line.startswith("datasets:"):
            raise UserError(
                "params.yaml: `datasets` is written on one line; put each node on its own"
            )
    return f"datasets:\n{block}\n{text}"
