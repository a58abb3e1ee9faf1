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
from weir.pipeline.plan import plan_files, write_plan


def run(options: argparse.Namespace) -> None:
    """Write plan.json and .dvcignore; `--check` only fails where one is out of step.

    `--running` does both: it brings them in step, and fails if DVC goes by other runs.
    """
    layout = Layout(find_root())
    layout.refuse_other(options.params)
    params = load_params(layout.params)
    if options.check:
        check(params, layout)
        return
    if options.running:
        keep_up(params, layout)
        return
    changed = write_plan(params, layout)
    for ref in params.unused():
        print(f"weir: note: {ref} is used by no evaluation", file=sys.stderr)
    print(f"{layout.plan.relative_to(layout.root)}: {'written' if changed else 'up to date'}")


def check(params: Params, layout: Layout) -> None:
    """Fail if plan.json or .dvcignore is not what params.yaml asks for.

    Raises:
        UserError: one is missing or out of step.
    """
    for path, wanted in plan_files(params, layout).items():
        if not path.exists() or path.read_text(encoding="utf-8") != wanted:
            raise UserError(
                f"{path.relative_to(layout.root)}: out of step with the nodes of params.yaml; run "
                "`weir plan`, then this again"
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
