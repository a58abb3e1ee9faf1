"""`weir plan`: the compiled runs, in step with params.yaml."""

from __future__ import annotations

import argparse
import json
import sys

from weir.errors import UserError
from weir.pipeline.layout import Layout, find_root
from weir.pipeline.params.graph import Params, load_params
from weir.pipeline.plan import compile_plan, prune_evaluations, write_plan


def run(options: argparse.Namespace) -> None:
    """Write plan.json, or with `--check` only fail where it is out of step."""
    layout = Layout(find_root())
    params = load_params(options.params or layout.root / "params.yaml")
    if options.check:
        check(params, layout)
        return
    changed = write_plan(params, layout)
    removed = prune_evaluations(params, layout)
    for folder in removed:
        print(f"removed {folder}: no node asks for it (the DVC cache keeps what was recorded)")
    for ref in params.unused():
        print(f"weir: note: {ref} is used by no evaluation", file=sys.stderr)
    print(f"{layout.plan.relative_to(layout.root)}: {'written' if changed else 'up to date'}")


def check(params: Params, layout: Layout) -> None:
    """Fail if plan.json is not what params.yaml asks for.

    Raises:
        UserError: it is missing or out of step.
    """
    wanted = compile_plan(params, layout)
    text = layout.plan.read_text(encoding="utf-8") if layout.plan.exists() else "{}"
    if json.loads(text) != wanted:
        raise UserError(
            "workflow/plan.json: out of step with the nodes of params.yaml; run `weir plan`, then "
            "this again"
        )
