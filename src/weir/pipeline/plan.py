"""The runs that params.yaml asks for, as dvc.yaml's `foreach` reads them.

DVC's templates cannot look up a node of another section nor cross nodes with folds and seeds, so
this is compiled into `workflow/plan.json`. Only the graph is in it (names, folds, seeds, upstream
folders), never a setting: an edited value needs no new plan, an edited graph does, and whatever
reads params.yaml refreshes it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from typing import Any

from weir.config.params import SECTIONS, Node, Params
from weir.pipeline.layout import Layout
from weir.pipeline.outputs import write_atomically
from weir.tasks import part

STAGES = ("fetch", "preprocess", *(section for section in SECTIONS if section != "datasets"))
"""Tables of plan.json. A dataset is fetched once, and preprocessed for each of its folds."""


@dataclass(frozen=True)
class Run:
    """A node with one of its folds and seeds: one job of each stage of its section.

    Attributes:
        key: name of the run in its section: the node's name, `-f<fold>` where its dataset has
            several held-out groups, and `-s<seed>` where it is seeded.
        seed: its seed; 0 if unseeded.
        upstream: the runs it is built on, as `section/key`.
        fold: index of its held-out group; None where there are not several.
    """

    node: Node
    key: str
    seed: int
    upstream: tuple[str, ...]
    fold: int | None = None

    @property
    def ref(self) -> str:
        """`section/key`."""
        return f"{self.node.section}/{self.key}"


def runs(params: Params) -> dict[str, Run]:
    """Every run by `section/key`, upstream first. A run is built on runs of its fold and seed."""
    found: dict[str, Run] = {}
    for node in params.nodes.values():
        above = [params.nodes[ref] for ref in node.upstream]
        for fold, seed in _repeats(params, node):
            if node.section == "report":
                upstream = [
                    f"{item.section}/{run_key(item, *each)}"
                    for item in above
                    for each in _repeats(params, item)
                ]
            else:
                upstream = [f"{item.section}/{run_key(item, fold, seed)}" for item in above]
            key = run_key(node, fold, seed)
            run = Run(node, key, seed if node.seeded else 0, tuple(upstream), fold)
            found[run.ref] = run
    return found


def run_key(node: Node, fold: int | None, seed: int) -> str:
    """Name of a run in its section."""
    folded = f"-f{fold}" if node.folds else ""
    seeded = f"-s{seed}" if node.seeded else ""
    return f"{node.name}{folded}{seeded}"


def _repeats(params: Params, node: Node) -> Iterator[tuple[int | None, int]]:
    """The folds and seeds of a node."""
    return product(
        range(len(node.folds)) if node.folds else (None,),
        params.seeds if node.seeded else params.seeds[:1],
    )


def compile_plan(params: Params, layout: Layout) -> dict[str, Any]:
    """The content of plan.json: for each stage, the runs and what dvc.yaml needs of each."""
    every = runs(params)
    plan: dict[str, dict[str, dict[str, Any]]] = {stage: {} for stage in STAGES}
    for run in every.values():
        node = run.node
        entry: dict[str, Any] = {"name": node.name, "arguments": _arguments(run)}
        if node.section != "report":
            entry["task"] = node.task
        if node.section == "datasets":
            plan["fetch"][node.name] = {**entry, "arguments": node.name}
            entry["raw"] = layout.raw(node.name)
        if run.fold is not None:
            entry["fold"] = run.fold
        if node.section not in ("datasets", "report"):
            dataset = params.nodes[f"datasets/{node.dataset}"]
            entry |= {"seed": run.seed, "dataset": run_key(dataset, run.fold, run.seed)}
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
        if node.section == "evaluate":
            entry["plot"] = part(node.task, "config").PLOT
        plan["preprocess" if node.section == "datasets" else node.section][run.key] = entry
    return {"runs": plan}


def _arguments(run: Run) -> str:
    """What follows `weir STAGE` on the command line."""
    words = [run.node.name]
    if run.node.section not in ("datasets", "report"):
        words.append(f"--seed {run.seed}")
    if run.fold is not None:
        words.append(f"--fold {run.fold}")
    return " ".join(words)


def write_plan(params: Params, layout: Layout) -> bool:
    """Bring plan.json in step with params.yaml; returns whether it had to change."""
    text = json.dumps(compile_plan(params, layout), indent=1, sort_keys=True) + "\n"
    path = layout.plan
    if path.exists() and path.read_text(encoding="utf-8") == text:
        return False
    write_atomically(path, text)
    return True
