"""`weir plan`: the compiled runs, in step with params.yaml.

DVC fills in dvc.yaml from plan.json before its first stage, `plan`, runs. What that stage finds out
of step it brings in step. A kind of model (`dvc exp run -S` of a `method`) stands in no template,
so the stages after it go on; other runs than before are for the next `dvc` only, so it stops.
"""

from __future__ import annotations

import argparse
import json
import sys
from typing import Any

from weir.errors import UserError
from weir.pipeline.layout import Layout, find_root, outer_root
from weir.pipeline.params.graph import Params, load_params
from weir.pipeline.plan import compile_plan, prune_evaluations, write_plan


def run(options: argparse.Namespace) -> None:
    """Write plan.json; `--check` only fails where it is out of step, `--running` does both."""
    layout = Layout(find_root())
    params = load_params(options.params or layout.root / "params.yaml")
    if options.check:
        check(params, layout)
        return
    if options.running:
        keep_up(params, layout)
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
    if _read(layout) != compile_plan(params, layout):
        raise UserError(
            "workflow/plan.json: out of step with the nodes of params.yaml; run `weir plan`, then "
            "this again"
        )


def keep_up(params: Params, layout: Layout) -> None:
    """Bring plan.json in step while DVC runs, which goes by the one that it read before.

    Raises:
        UserError: params.yaml asks for other runs than DVC knows.
    """
    before = _read(layout)
    if not write_plan(params, layout):
        return
    if _without_kinds(before) == _without_kinds(_read(layout)):
        return
    written = "workflow/plan.json: params.yaml asks for other runs than those that DVC has read; "
    if outer_root(layout.root) != layout.root:
        raise UserError(
            f"{written}a copy cannot change that: edit params.yaml in the repository instead of "
            "passing -S, run `weir plan` there, and start the experiment again"
        )
    raise UserError(f"{written}it is written anew: run the same command again")


def _read(layout: Layout) -> Any:
    return json.loads(layout.plan.read_text(encoding="utf-8")) if layout.plan.exists() else {}


def _without_kinds(plan: dict[str, Any]) -> dict[str, Any]:
    """What dvc.yaml is filled in from."""
    return {
        stage: {
            key: {name: value for name, value in run.items() if name != "kind"}
            for key, run in runs.items()
        }
        for stage, runs in plan.get("runs", {}).items()
    }
