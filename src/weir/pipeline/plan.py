"""The runs that params.yaml asks for, as dvc.yaml's `foreach` reads them.

DVC's templates cannot look up a node of another section nor cross nodes with seeds, so this is
compiled into `workflow/plan.json`. Only the graph is in it (names, seeds, upstream folders), never
a setting: an edited value needs no new plan, an edited graph does, and whatever reads params.yaml
refreshes it.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from weir.config.params import SECTIONS, Node, Params
from weir.pipeline.layout import Layout
from weir.pipeline.outputs import write_atomically


@dataclass(frozen=True)
class Run:
    """A node with one of its seeds: one job of each stage of its section.

    Attributes:
        key: name of the run in its section; `<node>-s<seed>`, or the node's name if unseeded.
        seed: its seed; 0 if unseeded.
        upstream: the runs it is built on, as `section/key`.
    """

    node: Node
    key: str
    seed: int
    upstream: tuple[str, ...]

    @property
    def ref(self) -> str:
        """`section/key`."""
        return f"{self.node.section}/{self.key}"


def runs(params: Params) -> dict[str, Run]:
    """Every run by `section/key`, upstream first."""
    found: dict[str, Run] = {}
    for node in params.nodes.values():
        for seed in params.seeds if node.seeded else params.seeds[:1]:
            upstream = tuple(
                _key(params, params.nodes[ref], seed)
                for ref in node.upstream
                if node.section != "report"
            )
            if node.section == "report":
                upstream = tuple(
                    _key(params, params.nodes[ref], each)
                    for ref in node.upstream
                    for each in (params.seeds if params.nodes[ref].seeded else params.seeds[:1])
                )
            key = f"{node.name}-s{seed}" if node.seeded else node.name
            run = Run(node, key, seed if node.seeded else 0, upstream)
            found[run.ref] = run
    return found


def _key(params: Params, node: Node, seed: int) -> str:
    return f"{node.section}/{node.name}-s{seed}" if node.seeded else f"{node.section}/{node.name}"


def compile_plan(params: Params, layout: Layout) -> dict[str, Any]:
    """The content of plan.json: for each section, the runs and what dvc.yaml needs of each."""
    every = runs(params)
    plan: dict[str, dict[str, dict[str, Any]]] = {section: {} for section in SECTIONS}
    for run in every.values():
        node = run.node
        entry: dict[str, Any] = {"name": node.name}
        if node.section != "report":
            entry["task"] = node.task
        if node.section not in ("datasets", "report"):
            entry |= {"seed": run.seed, "dataset": node.dataset}
        match node.section:
            case "stage2" | "teacher" | "evaluate":
                entry["upstream"] = layout.folder(every[run.upstream[0]])
            case "baseline":
                built_on = every[run.upstream[0]]
                folder = layout.folder(built_on)
                entry["upstream"] = (
                    f"{folder}/schema.json" if built_on.node.section == "datasets" else folder
                )
            case "distill":
                teacher = every[run.upstream[0]]
                entry["teacher"] = layout.folder(teacher)
                entry["upstream"] = layout.folder(every[teacher.upstream[0]])
        plan[node.section][run.key] = entry
    return {"runs": plan}


def write_plan(params: Params, layout: Layout) -> bool:
    """Bring plan.json in step with params.yaml; returns whether it had to change."""
    text = json.dumps(compile_plan(params, layout), indent=1, sort_keys=True) + "\n"
    path = layout.plan
    if path.exists() and path.read_text(encoding="utf-8") == text:
        return False
    write_atomically(path, text)
    return True
