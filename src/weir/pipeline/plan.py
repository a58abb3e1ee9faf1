"""The runs that params.yaml asks for, as dvc.yaml's `foreach` reads them.

DVC's templates cannot look up a node of another section nor cross nodes with folds and seeds, so
this is compiled into `workflow/plan.json`. Only the graph is in it (names, folds, seeds, upstream
folders) with the kinds of models, no other setting: an edited value needs no new plan, an edited
graph or kind does, and whatever reads params.yaml refreshes it.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from weir.files import write_atomically
from weir.pipeline.kind import kind_of
from weir.pipeline.layout import Layout
from weir.pipeline.params.graph import Node, Params
from weir.pipeline.runs import Run, run_key, runs
from weir.stage_table import OF_RUNS, STAGES
from weir.tasks import part


def prune_evaluations(params: Params, layout: Layout) -> list[Path]:
    """Remove evaluations of nodes that are gone: reports read the whole folder."""
    folder = layout.root / layout.results("evaluate")
    wanted = compile_plan(params, layout)["runs"]["evaluate"]
    # What begins with a dot is being written by a running evaluation.
    gone = [path for path in folder.glob("[!.]*") if path.is_dir() and path.name not in wanted]
    for path in gone:
        shutil.rmtree(path)
    return [path.relative_to(layout.root) for path in gone]


def compile_plan(params: Params, layout: Layout) -> dict[str, Any]:
    """The content of plan.json: for each stage, the runs and what dvc.yaml needs of each."""
    every = runs(params)
    plan: dict[str, dict[str, dict[str, Any]]] = {stage: {} for stage in STAGES}
    for run in every.values():
        node = run.node
        entry: dict[str, Any] = {"name": node.name, "arguments": _arguments(run)}
        if node.section != "report":
            entry["task"] = node.task
            entry["kind"] = _kind(params, node)
        # A dataset is fetched once, and preprocessed for each of its folds.
        if node.section == "datasets":
            plan["fetch"][node.name] = {**entry, "arguments": node.name}
            entry["raw"] = layout.raw(node.name)
        if run.fold is not None:
            entry["fold"] = run.fold
        if node.section in OF_RUNS:
            dataset = params.nodes[f"datasets/{node.dataset}"]
            entry |= {"seed": run.seed, "dataset": run_key(dataset, run.fold, run.seed)}
            entry |= _upstream(run, every, layout)
        if node.section == "evaluate":
            entry["plot"] = part(node.task, "settings.sections").PLOT
        plan["preprocess" if node.section == "datasets" else node.section][run.key] = entry
    return {"runs": plan}


def _upstream(run: Run, every: Mapping[str, Run], layout: Layout) -> dict[str, str]:
    """Folders that a run reads beside its dataset, by role."""
    roles = STAGES[run.node.section].inputs
    above = every[run.upstream[0]]
    folder = layout.folder(above.node.section, above.key)
    if "teacher" in roles:
        flow = every[above.upstream[0]]
        return {"teacher": folder, "upstream": layout.folder(flow.node.section, flow.key)}
    if "upstream" not in roles:
        return {}
    # dvc.yaml wants a dependency of every baseline, also of one that is built on data alone.
    return {"upstream": f"{folder}/schema.json" if above.node.section == "datasets" else folder}


def _kind(params: Params, node: Node) -> str:
    chain = [node]
    for each in chain:  # it grows meanwhile
        above = (params.nodes[ref] for ref in each.upstream)
        chain += [found for found in above if found not in chain]
    return kind_of((each.section, each.config) for each in chain)


def _arguments(run: Run) -> str:
    """What follows `weir STAGE` on the command line."""
    words = [run.node.name]
    if run.node.section in OF_RUNS:
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
