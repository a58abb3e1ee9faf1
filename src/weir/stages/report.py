"""Stage `report`: one HTML page about evaluated models.

    weir report index

Writes `results/report/<node>.html`, which is the same for equal results. What differs between two
runs of the same (times, commit, machine) lies in `results/provenance/report`, and the page loads it
from there.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from weir.artifacts import provenance
from weir.artifacts.evaluation import MISSING, Evaluation, load_evaluation
from weir.errors import UserError
from weir.files import write_atomically
from weir.report import measured
from weir.report.drawing.figure import standalone
from weir.report.graph.nodes import PlanGraph
from weir.report.page.page import Context, marked, slug
from weir.tasks import has_part, part

if TYPE_CHECKING:
    from weir.artifacts.stage_paths import StagePaths
    from weir.settings.nodes import Report
    from weir.tracking.tracker import Tracker

COMMAND = "snakemake --cores all"


def run(
    config: Report, paths: StagePaths, tracker: Tracker, *, name: str, task: str, seed: int
) -> None:
    """Write `report.html`, and beside the records of the runs what it shows of them."""
    folder = paths.inputs["evaluations"]
    evaluations = read(folder, config, paths.runs, paths.root)
    context = context_of(evaluations, config)
    page = marked(evaluations, graph(evaluations), config.title, context)
    whole = paths.output / "whole" / "report.html"
    whole.parent.mkdir()
    whole.write_text(measured.whole(page), encoding="utf-8")
    tracker.log_artifact(whole)
    digest = hashlib.sha256(measured.without(page).encode()).hexdigest()
    script = provenance.place(paths.root, "report", paths.key, digest, "js")
    write_atomically(script, measured.script(page))
    source = Path(os.path.relpath(script, folder.parent / "report")).as_posix()
    text = measured.without(page, source)
    (paths.output / "report.html").write_text(text, encoding="utf-8")
    for dataset in sorted({run.dataset for run in evaluations}):
        chosen = [run for run in evaluations if run.dataset == dataset]
        view = context.tasks.get(chosen[0].task)
        for figure in view.figures(chosen) if view else ():
            for view in figure.views:
                for number, panel in enumerate(view.panels):
                    words = f"{dataset} {figure.title} {view.label} {number + 1}"
                    file = paths.output / f"{slug(words)}.svg"
                    file.write_text(standalone(panel), encoding="utf-8")
                    tracker.log_artifact(file, f"figures/{dataset}")


def context_of(evaluations: Sequence[Evaluation], config: Report) -> Context:
    """What is known of the run that made some evaluations, and how to repeat it."""
    record = evaluations[0].provenance
    hardware = record.get("hardware")
    return Context(
        command=COMMAND,
        commit=record.get("commit") or "",
        hardware=", ".join(
            [*hardware["gpus"], f"{hardware['cores']} cores of {hardware['processor']}"]
        )
        if hardware
        else "",
        wall_s=seconds(evaluations),
        reproduce=(f"weir params use {preset(config)}", COMMAND),
        tasks={
            item: part(item, "figures.figures")
            for item in {run.task for run in evaluations}
            if has_part(item, "figures.figures")
        },
    )


def preset(config: Report) -> str:
    """The preset that repeats the numbers of a report."""
    return config.preset or config.scores or "NAME"


def read(folder: Path, config: Report, runs: Sequence[str], root: Path) -> list[Evaluation]:
    """The evaluations that a node asks for, with their provenance where it is known.

    Args:
        folder: of all evaluations; it may hold others, of nodes that are no more.
        config: the node.
        runs: of the present params.yaml.
        root: the repository.

    Raises:
        UserError: there is none, or one is not whole.
    """
    found = []
    for details in (folder / run / "details" for run in sorted(runs)):
        if not details.is_dir():
            continue
        record = provenance.read_record(root, details.parent) or {}
        evaluation = load_evaluation(details, record.pop("times", None))
        if config.evaluate == "all" or evaluation.node in config.evaluate:
            found.append(replace(evaluation, provenance=record))
    if not found:
        raise UserError(
            f"{folder}: holds no evaluation to report; run `dvc repro`, which makes them"
        )
    return found


def seconds(evaluations: Sequence[Evaluation]) -> float:
    """Time of all stages that led to some evaluations; `MISSING` if that of one is not known."""
    found: dict[str, float | None] = {}
    for run in evaluations:
        record = run.provenance
        stages = [*record.get("upstream", ()), record] if record else [{"seconds": None}]
        found |= {f"{item.get('stage')}@{item.get('run')}": item["seconds"] for item in stages}
    known = [value for value in found.values() if value is not None]
    return sum(known) if len(known) == len(found) else MISSING


def graph(evaluations: list[Evaluation]) -> PlanGraph:
    """The nodes that led to some evaluations, from the settings they recorded."""
    nodes: dict[str, dict[str, Any]] = {}
    edges: dict[tuple[str, str], None] = {}

    def add(ref: str, seed: int | None) -> str:
        section, _, name = ref.partition("/")
        suffix = "" if section == "datasets" or seed is None else f"-s{seed}"
        key = f"{ref}{suffix}"
        nodes[key] = {"id": key, "section": section, "name": name, "seed": seed if suffix else None}
        return key

    for run in evaluations:
        ref, below = f"evaluate/{run.node}", None
        while ref:
            key = add(ref, run.seed)
            if below:
                edges[key, below] = None
            below = key
            settings = run.lineage.get(ref.partition("/")[0], {})
            ref = _upstream(settings) if not ref.startswith("datasets/") else ""
    return PlanGraph.of({"nodes": list(nodes.values()), "edges": list(edges)})


def _upstream(settings: Any) -> str:
    """The node that another one's settings name: model, teacher, stage1 or dataset."""
    if "/" in str(settings.get("model", "")):
        return settings["model"]
    for field, section in (("teacher", "teacher"), ("stage1", "stage1"), ("dataset", "datasets")):
        if settings.get(field):
            return f"{section}/{settings[field]}"
    return ""
