"""The runs that params.yaml asks for, as dvc.yaml's `foreach` reads them.

DVC's templates cannot look up a node of another section nor cross nodes with folds and seeds, so
this is compiled into `workflow/plan.json`. Only the graph is in it (names, folds, seeds, upstream
folders) with the kinds of models, no other setting: an edited value needs no new plan, an edited
graph or kind does, and whatever runs something refreshes it.

Reports depend on the folder of all evaluations. Those of nodes that are gone stay there until
`weir clean` removes them, and so that DVC does not see them, `.dvcignore` names the others.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from weir.files import write_atomically
from weir.pipeline.kind import kind_of
from weir.pipeline.layout import Layout
from weir.pipeline.params.graph import Node, Params, load_params
from weir.pipeline.runs import Run, run_key, runs
from weir.stage_table import OF_RUNS, STAGES
from weir.tasks import part


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
        if node.section == "report":
            entry["evaluations"] = sorted(ref.partition("/")[2] for ref in run.upstream)
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


def plan_files(params: Params, layout: Layout) -> dict[Path, str]:
    """The files that are compiled from params.yaml, and their text."""
    plan = compile_plan(params, layout)
    return {
        layout.plan: json.dumps(plan, indent=1, sort_keys=True) + "\n",
        layout.ignore: _ignore(layout, plan["runs"]["evaluate"]),
    }


BEGIN = "# Evaluations: reports see those of workflow/plan.json, which `weir plan` lists here."
END = "# End of the list."


def _ignore(layout: Layout, evaluations: Iterable[str]) -> str:
    """The text of .dvcignore with the list of evaluations brought up to date.

    It comes first: a line that lets an evaluation be seen lets all be seen that lies in it, but for
    what a later line hides.
    """
    try:
        text = layout.ignore.read_text(encoding="utf-8")
    except FileNotFoundError:
        text = ""
    before, begin, rest = text.partition(f"{BEGIN}\n")
    own = before + rest.partition(f"{END}\n")[2] if begin else text
    folder = layout.results("evaluate")
    lines = [BEGIN, f"/{folder}/*", *(f"!/{folder}/{run}" for run in sorted(evaluations)), END]
    parts = ["".join(f"{line}\n" for line in lines), own.lstrip("\n")]
    return "\n".join(part for part in parts if part)


def write_plan(params: Params, layout: Layout) -> bool:
    """Bring plan.json and .dvcignore in step with params.yaml; whether one had to change."""
    changed = False
    for path, text in plan_files(params, layout).items():
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            write_atomically(path, text)
            changed = True
    return changed


def plan_of(params: Path, layout: Layout) -> dict[str, Any]:
    """The plan of a file of settings, all of which is checked.

    plan.json is brought in step if that file is the repository's own: it is of no other.

    Raises:
        UserError: the file is not valid.
    """
    loaded = load_params(params)
    if layout.owns(params):
        write_plan(loaded, layout)
    return compile_plan(loaded, layout)
