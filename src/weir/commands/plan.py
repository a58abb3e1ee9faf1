"""`weir plan`: the compiled runs, in step with params.yaml."""

from __future__ import annotations

import argparse
import sys

from weir.errors import UserError
from weir.pipeline.layout import Layout, find_root
from weir.pipeline.params.graph import Params, load_params
from weir.pipeline.plan import plan_files, write_plan


def run(options: argparse.Namespace) -> None:
    """Write plan.json and .dvcignore, or with `--check` only fail where it is out of step."""
    layout = Layout(find_root())
    layout.refuse_other(options.params)
    params = load_params(layout.params)
    if options.check:
        check(params, layout)
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
